"""MHER in a chain of sub-goals: first the gripper to the object, then the object to the goal."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.batch_source import Replayed
from mher_pl.errors import UserError, require, require_int
from mher_pl.inputs import RelativeGoals
from mher_pl.mher import MHER
from mher_pl.relabel import Future
from mher_pl.task import Task
from mher_pl.td_target import OneStep


class Guide(MHER):
    """Learns by HER to bring one point to another, each of which some entries of the observation show.

    The points are of the goal's kind, so the task's own reward tells where they are together.

    Args:
        moved: observation entries of the point that is moved, such as the gripper.
        at: those of the point where it belongs, such as the object.
        settings: of `MHER`, without a model.
    """

    def __init__(self, moved: list[int], at: list[int], **settings: Any) -> None:
        super().__init__(**settings)
        self.moved, self.at = moved, at

    def place(self, observation: Tensor) -> Tensor:
        """Return where the point is [..., goal] in observations [..., obs]."""
        return observation[..., self.moved]

    def target(self, observation: Tensor) -> Tensor:
        """Return where the point belongs [..., goal] in observations [..., obs]."""
        return observation[..., self.at]

    def own(self, batch: TensorDict) -> TensorDict:
        """Return a replayed batch [B] as one of the sub-goal."""
        batch = batch.copy()
        batch["achieved_goal"] = self.place(batch["observation"])
        batch["next", "achieved_goal"] = self.place(batch["next", "observation"])
        batch["desired_goal"] = self.target(batch["observation"])
        batch["hindsight_goal"] = self.place(batch["hindsight_observation"])
        return batch

    def observe(self, episode: TensorDict) -> None:
        """Fold a new episode into the statistics of the inputs, as one of the sub-goal."""
        observation = episode["observation"]  # [T+1, obs]
        own = {"achieved_goal": self.place(observation), "desired_goal": self.target(observation[:-1])}
        super().observe(TensorDict({**dict(episode.items()), **own}))

    def _stepper(self, name: str) -> torch.optim.Optimizer:
        """Return the optimiser itself: Lightning counts the steps of the agent's."""
        return self.named_optimizers[name]


class Relay(MHER):
    """MHER, and beside it a guide that learns an easier sub-goal and may lead the exploration.

    Until an agent meets the object all that it achieves stays as it is, and no relabelled goal tells anything. Reaching
    for the object is learned within some hundred steps (after RHER, Luo et al. 2022, in networks of its own).

    Args:
        moved: observation entries of what first comes to the object, as many as the goal has: the gripper.
        at: those of where it comes to: the object.
        batches_per_guide_update: the guide learns from the first of an episode's batches and each so many later.
        settings: of `MHER`; the guide has the same networks and rates, but learns by HER, without imitation and with
            `RelativeGoals`.
    """

    guide: Guide

    def __init__(self, moved: list[int], at: list[int], batches_per_guide_update: int, **settings: Any) -> None:
        super().__init__(**settings)
        require_int("model.batches_per_guide_update", batches_per_guide_update, 1)
        for name, entries in (("moved", moved), ("at", at)):
            known = all(0 <= i < self.task.observation_size for i in entries)
            if not known or not len(entries) == len(set(entries)) == self.task.goal_size:
                raise UserError(
                    f"model.{name} is {entries}; allowed: {self.task.goal_size} different entries, as many as a goal "
                    f"has, of the {self.task.observation_size} of an observation"
                )
        require(moved != at, "model.at", at, "other entries than model.moved")
        name = type(self.relabel).__name__
        require(self.relabel.ratio > 0.0, "model.relabel", name, "one that relabels a share above 0, the guide's too")
        self.moved, self.at, self.batches_per_guide_update = moved, at, batches_per_guide_update
        parts = {
            "inputs": RelativeGoals(self.inputs.min_std, self.inputs.clip),
            "relabel": Future(self.relabel.ratio),
            "batch_source": Replayed(),
            "td_target": OneStep(),
            "critic": deepcopy(self.critic),
            "dynamics": None,
        }
        task = sub_task(self.task, moved)
        self.guide = Guide(moved, at, **settings | parts | {"task": task, "imitation_weight": 0.0})

    def build(self) -> None:
        """Create the networks of both."""
        super().build()
        self.guide.configure_model()

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return those of MHER, and the guide's."""
        self.guide.named_optimizers = self.guide.make_optimizers()
        return super().make_optimizers() | {
            f"guide_{name}": optimizer for name, optimizer in self.guide.named_optimizers.items()
        }

    def setup(self, stage: str) -> None:
        """Let both draw from one generator."""
        super().setup(stage)
        self.guide.generator = self.generator

    def observe(self, episode: TensorDict) -> None:
        """Fold a new episode into the statistics of both."""
        super().observe(episode)
        self.guide.observe(episode)

    def training_step(self, batches: list[TensorDict], batch_idx: int) -> dict[str, list[TensorDict]]:
        """Let the guide learn from some of the batches, then learn from all."""
        guided = [self.guide.own(batch) for batch in batches[:: self.batches_per_guide_update]]
        self.guide.training_step(guided, batch_idx)
        names = ((name, f"guide/{name.removeprefix('train/')}") for name in tuple(self.guide.tracked))
        self.track({own: torch.stack(self.guide.tracked.pop(name)).mean() for name, own in names})
        return super().training_step(batches, batch_idx)


def sub_task(task: Task, moved: list[int]) -> Task:
    """Return the task of moving what the entries `moved` show, with the same observations, actions and reward."""
    own = copy(task)
    own.goal_indices, own.unclear_phi = tuple(moved), ""
    own.desired_goal_indices, own.goal_box = (), None
    return own
