import pytest
import torch
from toy import make_batch, make_task

from mher_pl.errors import UserError
from mher_pl.one_step import OneStepModels

SETTINGS = {
    "members": 3,
    "hidden_sizes": [8],
    "lr": 1e-2,
    "weight_decay": 0.0,
    "state_min_std": 0.05,
    "change_min_std": 0.01,
    "clip": 10.0,
}


def make_models(**settings) -> OneStepModels:
    torch.manual_seed(0)
    models = OneStepModels(**SETTINGS | settings)
    models.build(make_task())
    state = torch.randn(100, 3)
    models.observe(state, torch.zeros(100, 2), state + 0.1 * torch.randn(100, 3), lambda sums: sums)
    return models


def test_each_member_learns_from_rows_of_its_own():
    models, batch = make_models(), make_batch(13, scale=1e-3)
    state, action, change = models.examples(batch)
    assert state.shape == (3, 4, 3), "13 rows for 3 members: one is left"
    assert torch.equal(state.flatten(0, 1), batch["observation"][:12])
    assert torch.equal(action.flatten(0, 1), batch["action"][:12])
    loss, metrics = models.loss((state, action, change))
    models.zero_grad()
    loss.backward()
    together = models.networks.layers[0].weight.grad.clone()
    for member in range(3):
        models.zero_grad()
        error = (models.changes(state, action)[member] - change[member]).square().mean()
        error.backward()
        assert torch.allclose(models.networks.layers[0].weight.grad[member], together[member], rtol=1e-4)
        assert error.item() > 0
    assert metrics["train/model_loss"].item() == pytest.approx(loss.item() / 3)


def test_a_batch_must_have_a_row_for_each_member():
    assert make_models().least_rows == 3


def test_members_answer_their_own_rows_and_the_mean_answers_for_all():
    models = make_models()
    state, action = torch.randn(5, 3), torch.randn(5, 2)
    each = models.predict_each(state.expand(3, -1, -1), action.expand(3, -1, -1))  # [3, 5, 3]
    assert torch.allclose(models.predict(state, action), each.mean(dim=0))
    for member in range(3):
        rows = torch.zeros(3, 5, 3)
        rows[member] = state
        assert torch.equal(models.predict_each(rows, action.expand(3, -1, -1))[member], each[member])


def test_the_predicted_change_is_bounded():
    models = make_models(clip=0.5)
    models.networks.layers[-1].bias.data.fill_(100.0)
    state, action = torch.randn(5, 3), torch.zeros(5, 2)
    change = models.predict(state, action) - state
    assert torch.allclose(change, models.change_normalizer.inverse(torch.full((5, 3), 0.5)), atol=1e-6)


def test_states_are_in_agreement_where_a_single_model_would_lead():
    models = make_models(members=1)
    state, action = torch.randn(5, 3), torch.randn(5, 2)
    reached = models.predict(state, action)
    assert models.disagreement(state, action, reached).max() < 1e-6
    off = reached + 2.0 * models.change_normalizer.std
    assert torch.allclose(models.disagreement(state, action, off), torch.full((5,), 4.0), rtol=1e-3)


def test_disagreement_has_a_gradient_however_far_off_a_state_is():
    models, far = make_models(), torch.full((1, 3), 1e3, requires_grad=True)
    models.disagreement(torch.zeros(1, 3), torch.zeros(1, 2), far).sum().backward()
    assert far.grad.abs().min() > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("members", 0), ("hidden_sizes", [0]), ("lr", 0.0), ("weight_decay", -1.0), ("clip", 0.0), ("state_min_std", 0.0)],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(UserError, match=rf"model\.dynamics\.{name} is "):
        OneStepModels(**SETTINGS | {name: value})
