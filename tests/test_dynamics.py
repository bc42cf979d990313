import pytest
import torch
from tensordict import TensorDict
from torch import nn
from toy import Shift, generator, make_agent

from mher_pl.dynamics import EnsembleDynamics, virtual_path
from mher_pl.errors import UserError
from mher_pl.task import Task

TASK = Task("none", 100, 3, 2, 3, (0, 1, 2), lambda achieved, desired, info: achieved[:, 0])


def make(members: int = 3, max_grad_norm: float = 5.0, seed: int = 0, **kwargs) -> EnsembleDynamics:
    torch.manual_seed(seed)
    dynamics = EnsembleDynamics(
        members, [32, 32], lr=1e-3, updates_per_batch=2, max_grad_norm=max_grad_norm, min_std=1e-4, clip=5.0, **kwargs
    )
    dynamics.build(TASK)
    return dynamics


def transitions(size: int = 256) -> TensorDict:
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(size, 3, generator=generator)
    action = torch.rand(size, 2, generator=generator) * 2 - 1
    change = 0.1 * torch.stack([action[:, 0], action[:, 1], state[:, 0] * action[:, 0]], dim=1)
    following = {"observation": state + change, "achieved_goal": state + change}
    batch = {"observation": state, "achieved_goal": state, "action": action, "next": following}
    return TensorDict(batch, batch_size=[size])


def observed(dynamics: EnsembleDynamics, batch: TensorDict) -> EnsembleDynamics:
    dynamics.observe(batch["observation"], batch["action"], batch["next", "observation"], reduce=lambda sums: sums)
    return dynamics


def test_a_prediction_is_the_state_plus_the_mean_change_of_the_members():
    batch = transitions(5)
    dynamics = observed(make(), batch)
    inputs = dynamics.input_normalizer(torch.cat([batch["observation"], batch["action"]], dim=1))
    changes = []
    for member in range(3):
        hidden = inputs
        layers = list(dynamics.networks.layers)
        for layer in layers:
            hidden = hidden @ layer.weight[member] + layer.bias[member]
            hidden = nn.functional.relu(hidden) if layer is not layers[-1] else hidden
        changes.append(dynamics.change_normalizer.inverse(hidden))
    expected = batch["observation"] + torch.stack(changes).mean(0)
    assert torch.allclose(dynamics.predict(batch["observation"], batch["action"]), expected, atol=1e-6)


def test_the_loss_is_the_members_summed_mean_absolute_error_of_the_normalised_change():
    batch = transitions(5)
    dynamics = observed(make(), batch)
    for layer in dynamics.networks.layers:
        layer.weight.data.zero_()  # every member predicts no change at all, that is the mean one
    change = dynamics.change_normalizer(batch["next", "observation"] - batch["observation"])
    loss, metrics = dynamics.loss(dynamics.examples(batch))
    assert loss.item() == pytest.approx(3 * change.abs().mean().item())
    assert metrics["train/model_loss"].item() == pytest.approx(change.abs().mean().item())


def test_it_learns_the_change_of_state():
    batch = transitions()
    dynamics = observed(make(), batch)
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=1e-2)
    before = (dynamics.predict(batch["observation"], batch["action"]) - batch["next", "observation"]).abs().mean()
    for _ in range(200):
        optimizer.zero_grad()
        dynamics.loss(dynamics.examples(batch))[0].backward()
        optimizer.step()
    after = (dynamics.predict(batch["observation"], batch["action"]) - batch["next", "observation"]).abs().mean()
    assert after < 0.1 * before


def test_members_start_and_stay_different():
    dynamics = make()
    first = dynamics.networks.layers[0].weight
    assert not torch.equal(first[0], first[1])
    batch = transitions(16)
    observed(dynamics, batch).loss(dynamics.examples(batch))[0].backward()
    assert not torch.equal(first.grad[0], first.grad[1])


def test_each_members_gradient_is_clipped_to_the_norm():
    dynamics = make(max_grad_norm=0.01)
    batch = transitions(16)
    observed(dynamics, batch).loss(dynamics.examples(batch))[0].backward()
    raw = [parameter.grad.clone() for parameter in dynamics.parameters()]
    dynamics.clip_gradients(dynamics.make_optimizer())
    for member in range(3):
        norm = torch.cat([p.grad[member].flatten() for p in dynamics.parameters()]).norm()
        assert norm.item() == pytest.approx(0.01, rel=1e-4)
        raw_norm = torch.cat([gradient[member].flatten() for gradient in raw]).norm()
        first = next(iter(dynamics.parameters())).grad[member]
        assert torch.allclose(first, raw[0][member] * 0.01 / raw_norm, atol=1e-7)


def test_the_optimiser_clips_before_it_steps():
    dynamics, clipped = make(max_grad_norm=1.0), []
    dynamics.clip_gradients = lambda *args: clipped.append(1)
    optimizer = dynamics.make_optimizer()
    batch = transitions(16)
    observed(dynamics, batch).loss(dynamics.examples(batch))[0].backward()
    optimizer.step()
    assert clipped == [1]


def test_a_small_gradient_is_left_alone():
    dynamics = make(max_grad_norm=1e6)
    batch = transitions(16)
    observed(dynamics, batch).loss(dynamics.examples(batch))[0].backward()
    raw = [parameter.grad.clone() for parameter in dynamics.parameters()]
    dynamics.clip_gradients(dynamics.make_optimizer())
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(dynamics.parameters(), raw, strict=True))


def test_no_members_is_refused():
    with pytest.raises(UserError, match=r"model.dynamics.members is 0; allowed: an integer of at least 1"):
        make(members=0)


class Half(Shift):
    """Moves the state by half of the action's first entry."""

    def predict(self, state, action):
        super().predict(state, action)
        return state + 0.5 * action[:, :1]


def ones(state, goal):
    return torch.ones(len(state), 2)


class TestVirtualPath:
    def test_every_step_acts_in_the_state_before_under_the_same_goal(self):
        agent, seen = make_agent(dynamics=Half()), []
        goal = torch.tensor([[7.0, 8.0]])

        def policy(state, goal):
            seen.append((state[0, 0].item(), goal[0].tolist()))
            return ones(state, goal)

        path = list(virtual_path(agent, policy, torch.zeros(1, 3), goal, [1, 1, 1]))
        assert [state[0, 0].item() for _, state in path] == [0.5, 1.0, 1.5]
        assert seen == [(0.0, [7.0, 8.0]), (0.5, [7.0, 8.0]), (1.0, [7.0, 8.0])]

    def test_rows_that_have_gone_their_way_stay(self):
        agent = make_agent(dynamics=Half())
        *_, (action, state) = virtual_path(agent, ones, torch.zeros(3, 3), torch.zeros(3, 2), [3, 2, 1, 0])
        assert state[:, 0].tolist() == [1.5, 1.0, 0.5]
        assert len(action) == 1

    def test_noise_is_the_generators_and_actions_stay_in_bounds(self):
        agent, start = make_agent(dynamics=Half()), (torch.zeros(500, 3), torch.zeros(500, 2))
        (one,), (same,), (plain,) = (
            list(virtual_path(agent, lambda s, g: 0.0 * ones(s, g), *start, [500], noise, generator()))
            for noise in (0.25, 0.25, 0.0)
        )
        assert torch.equal(one[0], same[0])
        assert one[0].std().item() == pytest.approx(0.25, abs=0.02)
        assert (plain[0] == 0.0).all()
        ((wild, _),) = virtual_path(agent, ones, *start, [500], 50.0, generator())
        assert wild.abs().max() == 1.0
