"""Independent streams of random numbers out of a run's one seed, one for each thing that draws."""

from enum import IntEnum

import numpy as np
import torch

MAX_SEED = 2**32 - 1  # of a run, the largest one that Lightning takes


class Stream(IntEnum):
    """What draws random numbers. The numbers decide what a seed gives: a new stream gets a new one."""

    WORKERS = 0  # further data-parallel workers, each with streams of its own
    WEIGHTS = 1  # initial weights, the same on all workers
    EPISODES = 2  # resets of the training episodes
    EXPLORATION = 3
    REPLAY = 4  # which transitions are sampled
    UPDATES = 5  # relabelling, virtual paths, targets
    EVALUATION = 6  # resets of the episodes that follow an epoch
    TEST = 7  # resets of the episodes of `test`
    PLANS = 8  # a planner's imagined paths, by what it sees


def stream_seeds(count: int, seed: int, stream: Stream, *numbers: int) -> list[int]:
    """Return `count` seeds of 32 bits, which `seed`, the stream and `numbers` within it decide.

    NumPy's `SeedSequence` spreads its input such that streams of neighbouring seeds, too, have nothing in common.
    """
    return np.random.SeedSequence(seed, spawn_key=(stream, *numbers)).generate_state(count).tolist()


def stream_seed(seed: int, stream: Stream, *numbers: int) -> int:
    """Return the first of `stream_seeds`."""
    return stream_seeds(1, seed, stream, *numbers)[0]


def stream_generator(seed: int, stream: Stream, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator at the beginning of a stream."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))


def go_on(generator: torch.Generator, state: torch.Tensor) -> None:
    """Let a generator go on from its saved `state`; from its own beginning where that is of another seed."""
    saved = torch.Generator(generator.device)
    saved.set_state(state)
    if saved.initial_seed() == generator.initial_seed():
        generator.set_state(state)
