import pytest
import torch
from test_dynamics import TASK, observed, transitions
from toy import generator

from mher_pl.errors import UserError
from mher_pl.gaussian_dynamics import GaussianDynamics

ARGUMENTS = {
    "members": 4,
    "elites": 2,
    "hidden_sizes": [32, 32],
    "weight_decay": [0.1, 0.2, 0.3],
    "min_log_variance": -10.0,
    "max_log_variance": 0.5,
    "lr": 1e-3,
    "batch_size": 32,
    "max_updates": 50,
    "holdout_share": 0.2,
    "holdout_rows": 5000,
    "min_improvement": 0.01,
    "patience": 5,
    "min_std": 1e-4,
    "clip": 5.0,
}


def make(batch=None, **arguments) -> GaussianDynamics:
    """A small model, which has seen the `batch` if there is one, with no weight decay unless it is given."""
    torch.manual_seed(0)
    dynamics = GaussianDynamics(**ARGUMENTS | {"weight_decay": [0.0, 0.0, 0.0]} | arguments)
    dynamics.build(TASK)
    return dynamics if batch is None else observed(dynamics, batch)


def refit(dynamics, batch, seed: int = 0, losses: list | None = None) -> dict[str, float]:
    """Refit with an optimiser of its own."""
    optimizer = dynamics.make_optimizer()

    def minimize(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if losses is not None:
            losses.append(loss.item())

    metrics = dynamics.refit(batch, minimize, lambda tensor: tensor, generator(seed))
    return {name: value.item() for name, value in metrics.items()}


def error(dynamics, batch) -> float:
    return (dynamics.predict(batch["observation"], batch["action"]) - batch["next", "observation"]).abs().mean().item()


def constant_outputs(dynamics, mean: torch.Tensor, log_variance: float) -> None:
    """Let every member m predict mean[m] and a log-variance before its bounds."""
    for layer in dynamics.networks.layers:
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    dynamics.networks.layers[-1].bias.data[..., :3] = mean.view(-1, 1, 1)
    dynamics.networks.layers[-1].bias.data[..., 3:] = log_variance


class TestPrediction:
    def test_the_mean_is_that_of_the_elites_alone(self):
        batch = transitions(7)
        dynamics = make(batch)
        constant_outputs(dynamics, torch.tensor([100.0, 1.0, 100.0, 3.0]), 0.0)
        dynamics.elite.copy_(torch.tensor([3, 1]))
        change = dynamics.change_normalizer.inverse(torch.tensor([2.0, 2.0, 2.0]))
        predicted = dynamics.predict(batch["observation"], batch["action"])
        assert torch.allclose(predicted, batch["observation"] + change, atol=1e-5)

    def test_a_state_is_drawn_from_one_of_the_elites_each_alike_often(self):
        batch = transitions(1001)
        dynamics = make(batch)
        constant_outputs(dynamics, torch.tensor([100.0, 1.0, 100.0, 3.0]), -100.0)
        dynamics.elite.copy_(torch.tensor([3, 1]))
        drawn = dynamics.draw(batch["observation"], batch["action"], generator())
        normalised = (drawn - batch["observation"] - dynamics.change_normalizer.mean) / dynamics.change_normalizer.std
        means = normalised.mean(dim=1).round()
        assert set(means.tolist()) == {1.0, 3.0}
        assert (means == 1.0).float().mean() == pytest.approx(0.5, abs=0.01)

    def test_every_row_gets_its_own_prediction_whatever_the_number_of_rows(self):
        batch = transitions(64)
        dynamics = make(batch, elites=3, min_log_variance=-30.0)
        for layer in dynamics.networks.layers:  # all members alike, and no noise
            layer.weight.data.copy_(layer.weight.data[:1].clone())
        dynamics.networks.layers[-1].weight.data[..., 3:] = 0.0
        dynamics.networks.layers[-1].bias.data[..., 3:] = -100.0
        for rows in (1, 2, 3, 10, 64):
            some = batch[:rows]
            drawn = dynamics.draw(some["observation"], some["action"], generator())
            assert torch.allclose(drawn, dynamics.predict(some["observation"], some["action"]), atol=1e-5)

    def test_a_drawn_state_has_the_predicted_variance_within_its_soft_bounds(self):
        batch = transitions(4000)
        dynamics = make(batch)
        constant_outputs(dynamics, torch.zeros(4), 0.0)
        expected = 0.5 - torch.nn.functional.softplus(torch.tensor(0.5)).item()  # the upper bound at 0.5, softly
        drawn = dynamics.draw(batch["observation"], batch["action"], generator())
        normalised = (drawn - batch["observation"] - dynamics.change_normalizer.mean) / dynamics.change_normalizer.std
        assert normalised.var().log().item() == pytest.approx(expected, abs=0.05)
        for raw, bound in ((1e4, 0.5), (-1e4, -10.0)):
            constant_outputs(dynamics, torch.zeros(4), raw)
            _, log_variance = dynamics.distribution(torch.zeros(4, 1, 5))
            assert torch.allclose(log_variance, torch.tensor(bound), atol=1e-3)


class TestLearning:
    def test_the_loss_is_the_members_summed_gaussian_log_likelihood(self):
        batch = transitions(9)
        dynamics = make(batch)
        inputs, change = dynamics.examples(batch)
        mean, log_variance = dynamics.distribution(inputs.expand(4, -1, -1))
        likelihood = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(change)
        constant = torch.tensor(2.0 * torch.pi).log()
        loss, metrics = dynamics.loss((inputs, change))
        assert loss.item() == pytest.approx((-2.0 * likelihood - constant).mean(dim=(1, 2)).sum().item(), rel=1e-4)
        assert metrics["train/model_loss"].item() == pytest.approx(loss.item() / 4)

    def test_a_refit_learns_the_change_of_state_and_stops_by_itself(self):
        batch = transitions(600)
        dynamics = make(batch, max_updates=0, lr=3e-3)
        before = error(dynamics, batch)
        metrics = refit(dynamics, batch)
        assert error(dynamics, batch) < 0.2 * before
        assert metrics["train/model_updates"] > 100

    def test_noise_of_the_environment_is_learned_as_variance(self):
        batch = transitions(2000)
        noise = 0.1 * torch.randn(batch["observation"].shape, generator=generator(5))
        batch["next", "observation"] = batch["next", "observation"] + noise
        dynamics = make(batch, max_updates=400, lr=3e-3)
        refit(dynamics, batch)
        drawn = dynamics.draw(batch["observation"], batch["action"], generator())
        spread = (drawn - dynamics.predict(batch["observation"], batch["action"])).std().item()
        assert spread == pytest.approx(0.1, rel=0.25)

    @pytest.mark.parametrize(("rows", "updates"), [(50, 7), (2000, 7), (2000, 130)])
    def test_a_refit_takes_at_most_the_updates_it_may(self, rows, updates):
        batch, losses = transitions(rows), []
        metrics = refit(make(batch, max_updates=updates), batch, losses=losses)
        assert len(losses) == metrics["train/model_updates"]
        assert len(losses) == updates

    def test_it_ends_after_so_many_passes_without_a_better_member(self):
        batch, losses = transitions(100), []
        dynamics = make(batch, min_improvement=0.999999, patience=2, max_updates=0)
        refit(dynamics, batch, losses=losses)
        passes = 1 + 3  # the first is better than nothing; then three without
        assert len(losses) == passes * 3  # of 80 transitions, 32 a step

    def test_the_elites_are_the_members_with_the_smallest_errors_on_what_was_held_out(self):
        batch = transitions(400)
        dynamics = make(batch, max_updates=1, lr=1e-9, holdout_share=0.5)
        constant_outputs(dynamics, torch.tensor([0.3, 5.0, 0.1, 9.0]), 0.0)
        refit(dynamics, batch)
        assert dynamics.elite.tolist() == [2, 0]

    def test_each_member_keeps_its_best_weights(self):
        batch, seen = transitions(100), []
        dynamics = make(batch, patience=1, max_updates=0)
        errors = iter([[1.0, 1.0, 1.0, 1.0], [2.0, 0.5, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]])

        def rate(inputs, change):
            seen.append(dynamics.networks.layers[0].weight.detach().clone())
            return torch.tensor(next(errors))

        dynamics.errors = rate
        refit(dynamics, batch)
        first, second, *_ = seen
        kept = dynamics.networks.layers[0].weight
        assert torch.equal(kept[[0, 2, 3]], first[[0, 2, 3]])
        assert torch.equal(kept[1], second[1])
        assert dynamics.elite.tolist()[0] == 1

    def test_what_is_held_out_is_not_learned_from(self):
        batch = transitions(100)
        dynamics, learned, rated = make(batch, holdout_share=0.3, holdout_rows=20, max_updates=60), [], []
        loss, errors = dynamics.loss, dynamics.errors
        dynamics.loss = lambda examples: learned.append(examples[0].flatten(0, 1)) or loss(examples)
        dynamics.errors = lambda inputs, change: rated.append(inputs) or errors(inputs, change)
        refit(dynamics, batch)
        assert all(len(rows) == 20 for rows in rated)
        assert all(torch.equal(rows, rated[0]) for rows in rated)
        together = (torch.cat(learned).unsqueeze(1) == rated[0]).all(dim=-1)
        assert not together.any()
        assert len(torch.cat(learned).unique(dim=0)) == 80

    def test_a_refit_is_decided_by_the_generator(self):
        batch = transitions(200)
        one, same, other = make(batch), make(batch), make(batch)
        for dynamics, seed in ((one, 0), (same, 0), (other, 1)):
            refit(dynamics, batch, seed)
        weights = [dynamics.networks.layers[0].weight for dynamics in (one, same, other)]
        assert torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[0], weights[2])

    def test_a_single_transition_is_enough(self):
        batch = transitions(1)
        metrics = refit(make(batch, max_updates=3), batch)
        assert all(torch.isfinite(torch.tensor(value)) for value in metrics.values())

    def test_each_layers_weights_decay_by_their_own_rate_and_biases_not(self):
        groups = make(weight_decay=[0.1, 0.2, 0.3]).make_optimizer().param_groups
        assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.2, 0.0, 0.3, 0.0]
        assert [group["params"][0].shape[1] for group in groups] == [5, 1, 32, 1, 32, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": 0}, "model.dynamics.members is 0; allowed: an integer of at least 1"),
        ({"elites": 5}, "model.dynamics.elites is 5; allowed: at most 4, members"),
        ({"weight_decay": [0.1]}, r"model.dynamics.weight_decay is \[0.1\]; allowed: 3 numbers of at least 0"),
        ({"max_log_variance": -11.0}, "model.dynamics.min_log_variance is -10.0; allowed: a number below max_log"),
        ({"max_updates": -1}, "model.dynamics.max_updates is -1; allowed: an integer of at least 0"),
        ({"holdout_share": 1.5}, "model.dynamics.holdout_share is 1.5; allowed: a probability from 0 to 1"),
        ({"holdout_rows": 0}, "model.dynamics.holdout_rows is 0; allowed: an integer of at least 1"),
        ({"patience": -1}, "model.dynamics.patience is -1; allowed: an integer of at least 0"),
        ({"min_improvement": -0.1}, "model.dynamics.min_improvement is -0.1; allowed: a number from 0 to below 1"),
        ({"min_improvement": 1.0}, "model.dynamics.min_improvement is 1.0; allowed: a number from 0 to below 1"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        make(**arguments)
