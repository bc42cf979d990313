"""How many CPU threads a run takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from mher_pl.envs.batch import CORES, physics_threads
from mher_pl.errors import require

VARIABLE = "OMP_NUM_THREADS"  # what libraries that are loaded later, and processes that are started, go by


@contextmanager
def cpu_threads(threads: int | None, processes: int) -> Iterator[None]:
    """Until the block ends, let torch, the batched physics and linear algebra compute with `threads` threads each.

    None is one for torch, whose networks are small, and for the rest this process's share of the cores, or what the
    environment variable OMP_NUM_THREADS says. Whatever held before holds again afterwards.

    Args:
        threads: the setting.
        processes: of the run on this machine.

    Raises:
        UserError: the variable is no number.
    """
    given, torch_before = os.environ.get(VARIABLE), torch.get_num_threads()
    share = threads or (threads_of(given) if given else max(1, CORES // processes))
    # Adam's moments of dead units decay to denormal numbers, which processors handle in software: after 300 updates
    # each of them would take a third longer.
    flushed = bool(torch.tensor(1e-310, dtype=torch.float64).mul(1.0) == 0.0)
    torch.set_flush_denormal(True)
    os.environ[VARIABLE] = str(share)  # else Lightning sets its own number under ddp
    try:
        with threadpool_limits(share), physics_threads(share):
            torch.set_num_threads(threads or 1)
            yield
    finally:
        torch.set_num_threads(torch_before)
        torch.set_flush_denormal(flushed)
        if given is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = given


def threads_of(value: str) -> int:
    """Return the number of threads that OMP_NUM_THREADS asks for: `2`, or `2,1` for parts that lie in each other.

    Raises:
        UserError: it is no such thing.
    """
    outermost = value.partition(",")[0].strip()
    require(outermost.isdecimal() and int(outermost) > 0, VARIABLE, value, "a number of threads from 1")
    return int(outermost)
