"""What the critic learns towards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import require_int
from mher_pl.part import Part

if TYPE_CHECKING:
    from mher_pl.mher import MHER


class TDTarget(Part, ABC):
    """Estimates the value of a batch's transitions, without gradients."""

    @abstractmethod
    def __call__(self, batch: TensorDict, agent: MHER) -> Tensor:
        """Return the unclipped targets [B]; episodes end by the time limit alone, so nothing is terminal."""


class OneStep(TDTarget):
    """y = r + gamma Q'(s', pi'(s', g), g) with the target networks (Eq. 7)."""

    def __call__(self, batch: TensorDict, agent: MHER) -> Tensor:
        """Return the unclipped targets [B]."""
        return batch["reward"] + agent.discount * agent.target_value(
            batch["next", "observation"], batch["desired_goal"]
        )


class ValueExpansion(TDTarget):
    """MVE: the real reward, then those of a virtual path from s_{t+1}, then the value of its end (Eq. 9).

    The path follows the target actor through the dynamics model under the batch's goal.

    Args:
        horizon: rewards in the sum, H; 1 is `OneStep`.
    """

    uses_model = True

    def __init__(self, horizon: int) -> None:
        require_int("model.td_target.horizon", horizon, 1)
        self.horizon = horizon

    def __call__(self, batch: TensorDict, agent: MHER) -> Tensor:
        """Return the unclipped targets [B]."""
        state, goal = batch["next", "observation"], batch["desired_goal"]
        target, discount = batch["reward"], agent.discount
        for _ in range(self.horizon - 1):
            state = agent.dynamics(state, agent.target_act(state, goal))
            # A transition's reward is that of the state it leads to, as for replayed ones.
            target = target + discount * agent.task.reward(agent.task.phi(state), goal)
            discount *= agent.discount
        return target + discount * agent.target_value(state, goal)
