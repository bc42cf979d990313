"""What data-parallel workers, each with its own environment and replay, do together."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from lightning import Trainer
from torch import Tensor

from mher_pl.streams import Stream, stream_seed

LOST = "a data-parallel worker is gone, killed or failed; allowed: all workers until the end"


def worker_seed(seed: int, rank: int) -> int:
    """Return the seed of a data-parallel worker; the first keeps the run's own."""
    return seed if rank == 0 else stream_seed(seed, Stream.WORKERS, rank)


def average_gradients(trainer: Trainer, parameters: Sequence[Tensor]) -> None:
    """Average the parameters' gradients over the data-parallel workers, before they are clipped or applied."""
    if trainer.world_size == 1:
        return
    # Which ones the loss does not reach is the same for all workers.
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(joined)  # not `trainer.strategy.reduce`, which waits at a barrier first
    joined /= trainer.world_size
    means = joined.split([gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def gather_from_workers(trainer: Trainer, state: Any) -> list[Any]:
    """Collect a picklable state of every data-parallel worker on the first one; the others get an empty list."""
    if trainer.world_size == 1:
        return [state]
    states = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(state, states)
    return states or []


def is_lost_worker(error: BaseException) -> bool:
    """Whether a worker waited in vain for another one, which is gone: the backends say it each in their own way."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)
