import torch
from torch import nn
from toy import generator

from mher_pl.gan import BatchedNorm, Discriminators, Generators, SpectralLinear

E, B = 3, 7


def make_generators() -> Generators:
    return Generators(E, input_size=4, noise_size=5, action_size=2, state_size=3, hidden_sizes=[8, 6])


def test_batch_normalisation_is_pytorchs_for_each_member_alone():
    batched, rows = BatchedNorm(E, 4), 5.0 + 3.0 * torch.randn(E, B, 4, generator=generator())
    alone = [nn.BatchNorm1d(4) for _ in range(E)]
    for learning in (True, True, False):
        outputs = batched(rows, learning)
        for member, norm in enumerate(alone):
            norm.train(learning)
            assert torch.allclose(outputs[member], norm(rows[member]), atol=1e-5)
    for member, norm in enumerate(alone):
        assert torch.allclose(batched.mean[member, 0], norm.running_mean)
        assert torch.allclose(batched.variance[member, 0], norm.running_var)


def test_without_learning_the_rows_of_a_batch_do_not_meet_and_no_statistics_change():
    norm, rows = BatchedNorm(E, 4), torch.randn(E, B, 4)
    norm(rows, learning=True)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert torch.allclose(norm(rows, learning=False)[:, :1], norm(rows[:, :1], learning=False), atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_spectral_layers_come_to_have_largest_singular_values_of_one():
    torch.manual_seed(0)
    layer = SpectralLinear(E, 5, 6)
    nn.init.normal_(layer.weight, std=3.0)
    nn.init.zeros_(layer.bias)
    identity = torch.eye(5).expand(E, 5, 5)
    for _ in range(200):
        weights = layer(identity)  # what the layer multiplies with
    assert torch.allclose(torch.linalg.matrix_norm(weights, 2), torch.ones(E), atol=1e-3)


def test_generators_act_within_bounds_differ_and_have_fresh_noise_at_each_call():
    networks, draws = make_generators(), generator()
    inputs = torch.ones(E, B, 4)
    action, state = networks(inputs, draws)
    again, _ = networks(inputs, draws)
    assert action.shape == (E, B, 2)
    assert state.shape == (E, B, 3)
    assert action.abs().max() <= 1.0
    assert not torch.equal(action, again)
    assert len(action.flatten(0, 1).unique(dim=0)) == E * B, "every row its own"
    assert torch.equal(action, networks(inputs, generator())[0]), "the same from the same draws"


def test_a_members_output_depends_on_its_own_weights_and_rows_alone():
    torch.manual_seed(0)
    for networks in (make_generators(), Discriminators(E, 4, [8, 6])):
        extra = {"learning": True} if isinstance(networks, Generators) else {}
        rows = torch.randn(E, B, 4, requires_grad=True)
        outputs = networks(rows, generator(), **extra)[0] if extra else networks(rows)
        outputs[1].sum().backward()
        for tensor in (rows, *networks.parameters()):
            if tensor.grad is not None:
                assert tensor.grad[[0, 2]].abs().max() == 0.0
        assert rows.grad[1].abs().max() > 0.0
