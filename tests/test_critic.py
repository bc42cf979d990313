import pytest
import torch
from toy import generator, make_task

from mher_pl.critic import EnsembleCritic, SingleCritic
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


def test_the_target_of_a_single_critic_is_its_value():
    critic = make_critic()
    assert torch.equal(critic.target(INPUTS, ACTIONS, torch.Generator()), critic(INPUTS, ACTIONS))


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


class TestEnsemble:
    def make(self, members: int = 4, target_members: int = 2, layer_norm: bool = False) -> EnsembleCritic:
        critic = EnsembleCritic([8, 4], 1e-3, members, target_members, layer_norm)
        torch.manual_seed(0)
        critic.build(make_task(), input_size=5)
        return critic

    def test_the_actor_is_to_raise_the_members_mean(self):
        critic = self.make()
        values = critic.values(INPUTS, ACTIONS)
        assert values.shape == (4, 7)
        assert torch.allclose(critic(INPUTS, ACTIONS), values.mean(dim=0))

    def test_targets_are_the_minimum_of_members_drawn_anew(self):
        critic = self.make()
        pairs = torch.combinations(torch.arange(4))
        minima = [critic.values(INPUTS, ACTIONS)[pair].amin(dim=0) for pair in pairs]
        rng, drawn = generator(), []
        for _ in range(40):
            target = critic.target(INPUTS, ACTIONS, rng)
            drawn += [number for number, minimum in enumerate(minima) if torch.equal(target, minimum)][:1]
        assert len(drawn) == 40
        assert len(set(drawn)) > 2

    def test_each_member_has_the_gradient_that_it_would_have_alone(self):
        critic, target = self.make(), torch.zeros(7)
        critic.loss(INPUTS, ACTIONS, target)[0].backward()
        weight = critic.network.layers[0].weight
        alone = torch.autograd.grad(critic.values(INPUTS, ACTIONS)[2].square().mean(), weight)[0]
        assert torch.allclose(weight.grad[2], alone[2], atol=1e-6)

    def test_layer_norm_bounds_values_of_actions_far_away(self):
        far = 1e4 * ACTIONS
        bounded, free = (self.make(layer_norm=flag)(INPUTS, far).abs().max() for flag in (True, False))
        assert bounded < 10.0 < free

    @pytest.mark.parametrize(("members", "target_members"), [(0, 1), (2, 0), (2, 3)])
    def test_numbers_out_of_range_are_refused(self, members, target_members):
        with pytest.raises(UserError, match=r"model\.critic\.(target_)?members is \d; allowed"):
            self.make(members, target_members)
