"""What the critic learns towards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tensordict import TensorDict
from torch import Tensor

if TYPE_CHECKING:
    from mher_pl.mher import MHER
    from mher_pl.task import Task


class OneStep:
    """y = r + gamma Q'(s', pi'(s', g), g) with the target networks (Eq. 7)."""

    def check(self, task: Task) -> None:
        """Need nothing special of the task."""

    def __call__(self, batch: TensorDict, agent: MHER) -> Tensor:
        """Return the unclipped TD targets [B]; episodes end by the time limit alone, so nothing is terminal."""
        return batch["reward"] + agent.discount * agent.target_value(
            batch["next", "observation"], batch["desired_goal"]
        )
