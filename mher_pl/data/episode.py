"""An episode as the replay stores it: its steps, padded to the horizon, and how many there are."""

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.envs.goal import GOAL_KEYS

VECTORS = (*GOAL_KEYS, "action")  # of an episode, which has besides its length and whether it failed


def with_padding(steps: TensorDict, horizon: int, failed: bool) -> TensorDict:
    """Repeat the last of the vectors of an episode of t steps until there are as many as the horizon has.

    Args:
        steps: `observation` and `achieved_goal` [t+1], `desired_goal` and `action` [t].
        horizon: steps that an episode may have.
        failed: whether it was terminated away from its goal.
    """

    def padded(rows: Tensor, length: int) -> Tensor:
        return torch.cat([rows, rows[-1:].expand(length - len(rows), -1)])

    length = len(steps["action"])
    vectors = {key: padded(steps[key], horizon + len(steps[key]) - length) for key in VECTORS}
    return TensorDict(vectors | {"length": torch.tensor(length), "failed": torch.tensor(failed)})


def without_padding(episode: TensorDict) -> TensorDict:
    """Return the steps that were taken: `observation` and `achieved_goal` [t+1], `desired_goal` and `action` [t]."""
    length = int(episode["length"])
    ends = {"observation": length + 1, "achieved_goal": length + 1, "desired_goal": length, "action": length}
    return TensorDict({key: episode[key][:end] for key, end in ends.items()})


def not_finite(episodes: TensorDict) -> tuple[str, int] | None:
    """Return a vector that has NaN or infinity, and the first of the episodes [N] in which; None where none has."""
    for key in VECTORS:
        finite = torch.isfinite(episodes[key]).flatten(1).all(dim=1)  # [N]
        if not finite.all():
            return key, int(finite.int().argmin())
    return None
