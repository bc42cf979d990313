"""Relabelling: which goal a replayed transition is trained under."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import UserError, require_at_least, require_int, require_probability
from mher_pl.part import Part

if TYPE_CHECKING:
    from mher_pl.agent import Agent
    from mher_pl.dynamics import EnsembleDynamics
    from mher_pl.mher import MHER
    from mher_pl.task import Task


class Relabel(Part, ABC):
    """Gives a replayed batch the goals, mask and rewards that it is trained with.

    The result has, beside the replayed entries, `desired_goal` [B, goal] (the relabelled one where `relabelled` is
    True), `original_goal` [B, goal], `relabelled` [B] (the rows whose goal changed: those the supervised loss learns
    from) and `reward` [B].
    """

    @abstractmethod
    def __call__(self, batch: TensorDict, agent: Agent, generator: torch.Generator) -> TensorDict:
        """Relabel a batch; `agent` lends its policy and dynamics, `generator` all randomness."""


def with_goals(batch: TensorDict, goals: Tensor, relabelled: Tensor, agent: Agent) -> TensorDict:
    """Return the batch under `goals` [B, goal] where `relabelled` [B], with the reward recomputed for all rows."""
    batch = batch.copy()
    batch["original_goal"], batch["relabelled"] = batch["desired_goal"], relabelled
    return under(batch, torch.where(relabelled.unsqueeze(-1), goals, batch["desired_goal"]), agent)


def under(batch: TensorDict, desired_goal: Tensor, agent: Agent) -> TensorDict:
    """Put a relabelled batch under `desired_goal` [B, goal], with the reward recomputed, and return it.

    The reward compares the goal with what was achieved AFTER the action (Algorithm 1, line 20).
    """
    batch["desired_goal"] = desired_goal
    batch["reward"] = agent.task.reward(batch["next", "achieved_goal"], desired_goal)
    return batch


def relabelled_goals(batch: TensorDict) -> Tensor:
    """Return the goals [B, goal] that a relabeller chose, whichever loss they are for."""
    return batch.get("imitation_goal", batch["desired_goal"])


def goals_of(batches: list[TensorDict]) -> dict[str, Tensor]:
    """Return what a training step tells of its K relabelled batches.

    These are the original and the relabelled goals [K, B, goal], and which rows [K, B] changed.
    """
    return {
        "original_goal": torch.stack([batch["original_goal"] for batch in batches]),
        "relabelled_goal": torch.stack([relabelled_goals(batch) for batch in batches]),
        "relabelled": torch.stack([batch["relabelled"] for batch in batches]),
    }


def choose_rows(batch: TensorDict, ratio: float, generator: torch.Generator) -> Tensor:
    """Choose each row [B] with probability `ratio`."""
    device = batch["desired_goal"].device
    return torch.rand(len(batch), generator=generator, device=device) < ratio


class Keep(Relabel):
    """Train under the original goals (DDPG)."""

    def __call__(self, batch: TensorDict, agent: Agent, generator: torch.Generator) -> TensorDict:
        """Keep every goal."""
        nowhere = torch.zeros(len(batch), dtype=torch.bool, device=batch["desired_goal"].device)
        return with_goals(batch, batch["desired_goal"], nowhere, agent)


class Future(Relabel):
    """HER: a goal achieved later in the same episode (Section 3.2).

    Args:
        ratio: share of relabelled rows.
    """

    def __init__(self, ratio: float) -> None:
        require_probability("model.relabel.ratio", ratio)
        self.ratio = ratio

    def __call__(self, batch: TensorDict, agent: Agent, generator: torch.Generator) -> TensorDict:
        """Relabel with the replay's hindsight goals."""
        return with_goals(batch, batch["hindsight_goal"], choose_rows(batch, self.ratio, generator), agent)


class ModelBased(Relabel):
    """MHER: a goal reached on a virtual path of the current policy through the dynamics model (Section 4.2).

    Args:
        ratio: share of relabelled rows.
        steps: length n of the virtual path from s_{t+1}; 0 relabels with what s_{t+1} itself achieves.
        noise: standard deviation of Gaussian noise on the virtual actions.
    """

    uses_model = True

    def __init__(self, ratio: float, steps: int, noise: float) -> None:
        require_probability("model.relabel.ratio", ratio)
        require_int("model.relabel.steps", steps, 0)
        require_at_least("model.relabel.noise", noise, 0.0)
        self.ratio, self.steps, self.noise = ratio, steps, noise

    def __call__(self, batch: TensorDict, agent: MHER, generator: torch.Generator) -> TensorDict:
        """Relabel with virtual achieved goals (Algorithm 1, lines 11 to 21)."""
        relabelled = choose_rows(batch, self.ratio, generator)
        goals = self.virtual_goals(batch, relabelled, agent, generator)
        return with_goals(batch, goals, relabelled, agent)

    @torch.inference_mode()
    def virtual_goals(self, batch: TensorDict, rows: Tensor, agent: MHER, generator: torch.Generator) -> Tensor:
        """Draw a goal from the n + 1 states of each row's virtual path, s_{t+1} included; returns [B, goal].

        A row's state is drawn first and its path followed no further than that state, which halves the work: row i
        needs steps[i] steps of the model, and none where `rows` is False.
        """
        state, goal = batch["next", "observation"], batch["desired_goal"]
        steps = torch.randint(self.steps + 1, (len(batch),), generator=generator, device=state.device) * rows  # [B]
        steps, order = steps.sort(descending=True)
        state, goal = state[order], goal[order]
        going = (steps > torch.arange(self.steps, device=steps.device).unsqueeze(-1)).sum(dim=1)  # [n] rows still going
        for k in going.tolist():
            if k == 0:
                break
            action = agent.target_act(state[:k], goal[:k])
            noise = torch.randn(action.shape, generator=generator, device=action.device)
            action = (action + self.noise * noise).clamp(-1.0, 1.0)
            state = torch.cat([agent.dynamics(state[:k], action), state[k:]])
        return agent.task.phi(state)[order.argsort()]


class RandomGoals(Relabel):
    """A goal drawn uniformly from the goal space (Appendix B.5).

    The space is the box that the environment declares for desired goals. Where that is unbounded, it is the smallest
    box around all goals of the batch, desired, achieved and hindsight, which after a few episodes is what the agent
    knows of the space.

    Args:
        ratio: share of relabelled rows.
    """

    def __init__(self, ratio: float) -> None:
        require_probability("model.relabel.ratio", ratio)
        self.ratio = ratio

    def __call__(self, batch: TensorDict, agent: Agent, generator: torch.Generator) -> TensorDict:
        """Relabel with random goals."""
        desired_goal = batch["desired_goal"]
        low, high = self.box(batch, agent.task)
        draws = torch.rand(desired_goal.shape, generator=generator, device=desired_goal.device)
        return with_goals(batch, low + (high - low) * draws, choose_rows(batch, self.ratio, generator), agent)

    @staticmethod
    def box(batch: TensorDict, task: Task) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest goals [goal]."""
        if task.goal_box is not None:
            low, high = task.goal_box.to(batch["desired_goal"].device)
            return low, high
        seen = torch.cat([batch["desired_goal"], batch["hindsight_goal"], batch["next", "achieved_goal"]])
        return seen.amin(dim=0), seen.amax(dim=0)


class Wrapper(Relabel):
    """Does something with the goals of another relabeller.

    Args:
        relabel: gives the goals.
    """

    def __init__(self, relabel: Relabel) -> None:
        self.relabel = relabel

    def check(self, task: Task, dynamics: EnsembleDynamics | None) -> None:
        """Raise `UserError` if the other relabeller lacks something."""
        self.relabel.check(task, dynamics)


class Noisy(Wrapper):
    """Another relabeller's goals with Gaussian noise (Appendix B.5).

    Args:
        relabel: gives the goals.
        std: standard deviation of the noise, in units of the goal.
    """

    def __init__(self, relabel: Relabel, std: float) -> None:
        super().__init__(relabel)
        require_at_least("model.relabel.std", std, 0.0)
        if isinstance(relabel, ImitationOnly):
            raise UserError("model.relabel is Noisy around ImitationOnly; allowed: ImitationOnly around Noisy")
        self.std = std

    def __call__(self, batch: TensorDict, agent: Agent, generator: torch.Generator) -> TensorDict:
        """Relabel as the other does and add noise to the goals that changed."""
        batch = self.relabel(batch, agent, generator)
        goal = batch["desired_goal"]
        noise = self.std * torch.randn(goal.shape, generator=generator, device=goal.device)
        return under(batch, goal + noise * batch["relabelled"].unsqueeze(-1), agent)


class ImitationOnly(Wrapper):
    """Another relabeller's goals for the supervised loss alone; the RL losses keep the original ones (Section 5.5).

    The result has, beside the entries of every relabeller, `imitation_goal` [B, goal].

    Args:
        relabel: gives the goals to imitate under.
    """

    def __call__(self, batch: TensorDict, agent: Agent, generator: torch.Generator) -> TensorDict:
        """Relabel as the other does, then set its goals aside and restore the original ones with their rewards."""
        batch = self.relabel(batch, agent, generator)
        imitation_goal = batch["desired_goal"]
        batch = under(batch, batch["original_goal"], agent)
        batch["imitation_goal"] = imitation_goal
        return batch
