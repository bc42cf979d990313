"""What the critic learns towards."""

from __future__ import annotations

from abc import ABC, abstractmethod

from tensordict import TensorDict
from torch import Tensor

from mher_pl.dynamics import virtual_path
from mher_pl.errors import require_int
from mher_pl.parts import CriticLearner, Part


class TDTarget(Part, ABC):
    """Estimates the value of a batch's transitions, without gradients."""

    @abstractmethod
    def __call__(self, batch: TensorDict, learner: CriticLearner) -> Tensor:
        """Return the unclipped targets [B]; episodes end by the time limit alone, so nothing is terminal."""


class OneStep(TDTarget):
    """y = r + gamma Q'(s', pi'(s', g), g) with the target networks (Eq. 7)."""

    def __call__(self, batch: TensorDict, learner: CriticLearner) -> Tensor:
        """Return the unclipped targets [B]."""
        value = learner.target_value(batch["next", "observation"], batch["desired_goal"])
        return batch["reward"] + learner.discount * value


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

    def __call__(self, batch: TensorDict, learner: CriticLearner) -> Tensor:
        """Return the unclipped targets [B]."""
        state, goal = batch["next", "observation"], batch["desired_goal"]
        target, discount, task = batch["reward"], learner.discount, learner.task
        rows = [len(batch)] * (self.horizon - 1)
        for _, reached in virtual_path(learner, learner.target_act, state, goal, rows):
            state = reached
            # A transition's reward is that of the state it leads to, as for replayed ones.
            target = target + discount * task.reward(task.phi(state), goal)
            discount *= learner.discount
        return target + discount * learner.target_value(state, goal)
