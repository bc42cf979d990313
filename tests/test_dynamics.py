import pytest
import torch
from tensordict import TensorDict
from torch import nn

from mher_pl.dynamics import EnsembleDynamics
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
    return TensorDict({"observation": state, "action": action, "next": {"observation": state + change}}, [size])


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
        layers = dynamics.networks.layers[::2]  # every other one is a ReLU
        for layer in layers:
            hidden = hidden @ layer.weight[member] + layer.bias[member]
            hidden = nn.functional.relu(hidden) if layer is not layers[-1] else hidden
        changes.append(dynamics.change_normalizer.inverse(hidden))
    expected = batch["observation"] + torch.stack(changes).mean(0)
    assert torch.allclose(dynamics(batch["observation"], batch["action"]), expected, atol=1e-6)


def test_the_loss_is_the_members_summed_mean_absolute_error_of_the_normalised_change():
    batch = transitions(5)
    dynamics = observed(make(), batch)
    for layer in dynamics.networks.layers[::2]:
        layer.weight.data.zero_()  # every member predicts no change at all, that is the mean one
    change = dynamics.change_normalizer(batch["next", "observation"] - batch["observation"])
    assert dynamics.loss(*dynamics.examples(batch)).item() == pytest.approx(3 * change.abs().mean().item())


def test_it_learns_the_change_of_state():
    batch = transitions()
    dynamics = observed(make(), batch)
    optimizer = torch.optim.Adam(dynamics.parameters(), lr=1e-2)
    before = (dynamics(batch["observation"], batch["action"]) - batch["next", "observation"]).abs().mean()
    for _ in range(200):
        optimizer.zero_grad()
        dynamics.loss(*dynamics.examples(batch)).backward()
        dynamics.clip_gradients(list(dynamics.parameters()))
        optimizer.step()
    after = (dynamics(batch["observation"], batch["action"]) - batch["next", "observation"]).abs().mean()
    assert after < 0.1 * before


def test_members_start_and_stay_different():
    dynamics = make()
    first = dynamics.networks.layers[0].weight
    assert not torch.equal(first[0], first[1])
    batch = transitions(16)
    observed(dynamics, batch).loss(*dynamics.examples(batch)).backward()
    assert not torch.equal(first.grad[0], first.grad[1])


def test_each_members_gradient_is_clipped_to_the_norm():
    dynamics = make(max_grad_norm=0.01)
    batch = transitions(16)
    observed(dynamics, batch).loss(*dynamics.examples(batch)).backward()
    raw = [parameter.grad.clone() for parameter in dynamics.parameters()]
    dynamics.clip_gradients(list(dynamics.parameters()))
    for member in range(3):
        norm = torch.cat([p.grad[member].flatten() for p in dynamics.parameters()]).norm()
        assert norm.item() == pytest.approx(0.01, rel=1e-4)
        raw_norm = torch.cat([gradient[member].flatten() for gradient in raw]).norm()
        first = next(iter(dynamics.parameters())).grad[member]
        assert torch.allclose(first, raw[0][member] * 0.01 / raw_norm, atol=1e-7)


def test_a_small_gradient_is_left_alone():
    dynamics = make(max_grad_norm=1e6)
    batch = transitions(16)
    observed(dynamics, batch).loss(*dynamics.examples(batch)).backward()
    raw = [parameter.grad.clone() for parameter in dynamics.parameters()]
    dynamics.clip_gradients(list(dynamics.parameters()))
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(dynamics.parameters(), raw, strict=True))


def test_no_members_is_refused():
    with pytest.raises(UserError, match=r"model.dynamics.members is 0; allowed: an integer of at least 1"):
        make(members=0)
