"""What the critic learns towards."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.dynamics import virtual_path
from mher_pl.errors import require_int
from mher_pl.parts import CriticLearner, Part


class TDTarget(Part, ABC):
    """Estimates the value of a batch's transitions, without gradients."""

    @abstractmethod
    def __call__(self, batch: TensorDict, learner: CriticLearner) -> Tensor:
        """Return the unclipped targets [B].

        Nothing follows a transition that truly ends its episode: after the goal all rewards are 0, and after a failure
        they are what the task's own reward of 0 is on our scale. The time limit is no end.
        """


def value_of_failure(learner: CriticLearner) -> float:
    """Return the value of what follows a failure."""
    return learner.task.reward_after_end / (1.0 - learner.discount)


class OneStep(TDTarget):
    """y = r + gamma Q'(s', pi'(s', g), g) with the target networks (Eq. 7)."""

    def __call__(self, batch: TensorDict, learner: CriticLearner) -> Tensor:
        """Return the unclipped targets [B]."""
        value = learner.target_value(batch["next", "observation"], batch["desired_goal"])
        ended = value_of_failure(learner) * batch["failed"]
        return batch["reward"] + learner.discount * torch.where(batch["terminated"], ended, value)


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
        task, goal, discount = learner.task, batch["desired_goal"], learner.discount
        state = task.state(batch["next", "observation"], batch["next", "achieved_goal"])
        target = batch["reward"] + discount * value_of_failure(learner) * batch["failed"]
        going = ~batch["terminated"]  # [B]
        rows = [len(batch)] * (self.horizon - 1)
        for _, reached in virtual_path(learner, learner.target_act, state, goal, rows):
            state = reached
            # A transition's reward is that of the state it leads to, as for replayed ones.
            reward = task.reward(task.phi(state), goal)
            target = target + discount * (reward * going)
            going = going & ~task.ends(reward)
            discount *= learner.discount
        return target + discount * (learner.target_value(task.observation(state), goal) * going)
