from types import SimpleNamespace

import torch

from mher_pl.parallel.workers import average_gradients, worker_seed


def test_gradients_become_their_mean_over_the_workers(monkeypatch):
    parameters = [torch.zeros(2, 3), torch.zeros(4)]
    for parameter in parameters:
        parameter.grad = torch.rand_like(parameter)
    expected = [(parameter.grad + 1.0) / 2 for parameter in parameters]
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradients: gradients.add_(1.0))  # the other worker's
    average_gradients(SimpleNamespace(world_size=2), parameters)
    for parameter, mean in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, mean)


def test_parameters_that_the_loss_does_not_reach_stay_without_a_gradient(monkeypatch):
    parameters = [torch.zeros(2), torch.zeros(3)]
    parameters[1].grad = torch.ones(3)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradients: gradients.add_(3.0))
    average_gradients(SimpleNamespace(world_size=2), parameters)
    assert parameters[0].grad is None
    assert parameters[1].grad.tolist() == [2.0] * 3


def test_a_workers_seed_is_its_own_and_the_first_keeps_the_runs():
    assert worker_seed(7, 0) == 7
    assert len({worker_seed(seed, rank) for seed in range(3) for rank in range(3)}) == 9
