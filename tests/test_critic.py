import pytest
import torch
from toy import make_task

from mher_pl.critic import SingleCritic
from mher_pl.errors import UserError


def make_critic() -> SingleCritic:
    critic = SingleCritic([8, 4], lr=1e-3)
    torch.manual_seed(0)
    critic.build(make_task(), input_size=5)
    return critic


INPUTS, ACTIONS = torch.linspace(-1, 1, 35).view(7, 5), torch.linspace(1, -1, 14).view(7, 2)


def test_it_values_inputs_and_actions_row_by_row():
    critic = make_critic()
    values = critic(INPUTS, ACTIONS)
    assert values.shape == (7,)
    assert torch.allclose(values[3], critic(INPUTS[3], ACTIONS[3]), atol=1e-6)
    assert not torch.allclose(values, critic(INPUTS, ACTIONS + 0.5))
    assert not torch.allclose(values, critic(INPUTS + 0.5, ACTIONS))


def test_its_hidden_layers_are_those_of_the_settings():
    assert [tuple(layer.weight.shape) for layer in make_critic().network.layers] == [(8, 7), (4, 8), (1, 4)]


def test_the_loss_is_the_mean_squared_error_and_its_gradient_raises_low_values():
    critic, target = make_critic(), torch.zeros(7)
    value = critic(INPUTS, ACTIONS)
    loss, mean = critic.loss(INPUTS, ACTIONS, target)
    assert loss.item() == pytest.approx(value.square().mean().item())
    assert mean.item() == pytest.approx(value.mean().item())
    optimizer = critic.make_optimizer()
    for _ in range(50):
        optimizer.zero_grad()
        critic.loss(INPUTS, ACTIONS, target)[0].backward()
        optimizer.step()
    assert critic.loss(INPUTS, ACTIONS, target)[0] < 0.5 * loss


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([8, 0], 1e-3), "model.critic.hidden_sizes is 0; allowed: an integer of at least 1"),
        (([8], 0.0), "model.critic.lr is 0.0; allowed: a number above 0"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        SingleCritic(*arguments)
