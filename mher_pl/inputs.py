"""What actor and critic see."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mher_pl.errors import UserError, require_positive
from mher_pl.normalizer import Normalizer
from mher_pl.parts import DynamicsModel, Part
from mher_pl.task import Shape, Task


class Inputs(Part, nn.Module):
    """Observations and goals, joined and normalised.

    Where the observation itself shows the desired goal, the goal that is asked for stands there too. A relabelled
    transition is then what the environment would have shown under its new goal; with the old one left in it, two goals
    contradict each other.

    Args:
        min_std: floor of the standard deviation in the normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
    """

    sources: Tensor

    def __init__(self, min_std: float, clip: float) -> None:
        super().__init__()
        require_positive("model.inputs.min_std", min_std)
        require_positive("model.inputs.clip", clip)
        self.min_std, self.clip = min_std, clip

    def build(self, task: Shape) -> None:
        """Create the statistics for the task's sizes."""
        self.size = self.joined_size(task)  # entries of the result
        self.normalizer = Normalizer(self.size, self.min_std, self.clip)
        self.shows_goal = len(task.desired_goal_indices) > 0
        sources = torch.arange(task.observation_size + task.goal_size)
        if self.shows_goal:
            sources[list(task.desired_goal_indices)] = sources[task.observation_size :].clone()
        # No part of the weights: the task decides it.
        self.register_buffer("sources", sources, persistent=False)  # entries of [observation, goal], by place

    def joined_size(self, task: Shape) -> int:
        """Return the entries of what `join` gives."""
        return task.observation_size + task.goal_size

    def join(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Join observations [..., obs] under goals [..., goal] and the goals to [..., size]."""
        joined = torch.cat([observation, goal], dim=-1)
        return joined.index_select(-1, self.sources) if self.shows_goal else joined

    def forward(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Join and normalise observations [..., obs] and goals [..., goal] to network inputs [..., size]."""
        return self.normalizer(self.join(observation, goal))

    def observe(self, episode: TensorDict, reduce: Callable[[Tensor], Tensor]) -> None:
        """Fold a newly stored episode into the statistics; `reduce` sums over workers.

        Every state counts with both kinds of goals that training meets: the one achieved next and the desired one.
        """
        state = episode["observation"][:-1]  # [T, obs]
        achieved_goal = episode["achieved_goal"][1:]  # [T, goal]
        desired_goal = episode["desired_goal"]  # [T, goal]
        rows = torch.cat([self.join(state, goal) for goal in (achieved_goal, desired_goal)])
        self.normalizer.update(reduce(Normalizer.sums_of(rows)))


class RelativeGoals(Inputs):
    """Beside observations and goals, the way from the achieved goal to the one asked for.

    The actor need not find out first which entries of the observation the goal is about.

    Args:
        min_std: floor of the standard deviation in the normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
    """

    uses_phi = True

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if observations do not show the achieved goal."""
        task.require_phi("model.inputs RelativeGoals")
        if task.goal_indices is None:
            raise UserError(
                f"model.inputs is RelativeGoals, but the achieved goal of {task.env} was no part of its observation, "
                "or did not move, on the steps tried; allowed: mher_pl.inputs.Inputs, or data.goal_indices"
            )

    def joined_size(self, task: Shape) -> int:
        """Return the entries of what `join` gives."""
        return super().joined_size(task) + task.goal_size

    def build(self, task: Shape) -> None:
        """Create the statistics for the task's sizes."""
        super().build(task)
        assert task.goal_indices is not None  # `check` has seen to it
        self.goal_indices = list(task.goal_indices)

    def join(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Join observations [..., obs] under goals [..., goal], the goals and the ways to them to [..., size]."""
        way = goal - observation[..., self.goal_indices]
        return torch.cat([super().join(observation, goal), way], dim=-1)


class RelativeOnly(RelativeGoals):
    """Where things are to each other: the way to the goal and other ways, without the entries that say where all lies.

    For tasks where that does not matter, such as to push on a table: what is learned at one place then holds at all.

    Args:
        min_std: floor of the standard deviation in the normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
        places: the entries that are left out, of the observation and, counted on, of the goal.
        ways: pairs of observation entries, such as the gripper's and the object's place along one axis: the second less
            the first is shown.
    """

    shown: Tensor

    def __init__(self, min_std: float, clip: float, places: list[int], ways: list[list[int]]) -> None:
        super().__init__(min_std, clip)
        self.places, self.ways = places, ways

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if observations do not show the achieved goal, or there are no such entries."""
        super().check(task, dynamics)
        size = task.observation_size + task.goal_size
        if len(set(self.places)) < len(self.places) or not all(0 <= place < size for place in self.places):
            raise UserError(
                f"model.inputs.places is {self.places}; allowed: different entries from 0 to {size - 1}, of the "
                "observation and then of the goal"
            )
        last = task.observation_size - 1
        if not all(len(way) == 2 and all(0 <= entry <= last for entry in way) for way in self.ways):
            raise UserError(
                f"model.inputs.ways is {self.ways}; allowed: pairs of entries of the observation, from 0 to {last}"
            )

    def joined_size(self, task: Shape) -> int:
        """Return the entries of what `join` gives."""
        return super().joined_size(task) - len(self.places) + len(self.ways)

    def build(self, task: Shape) -> None:
        """Create the statistics for the task's sizes."""
        super().build(task)
        every = range(super().joined_size(task))
        # No part of the weights: the settings decide it.
        self.register_buffer("shown", torch.tensor([i for i in every if i not in self.places]), persistent=False)

    def join(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Join observations [..., obs] under goals [..., goal] and the ways to them to [..., size]."""
        joined = super().join(observation, goal)
        shown = joined.index_select(-1, self.shown)
        if not self.ways:
            return shown
        start, end = map(list, zip(*self.ways, strict=True))
        return torch.cat([shown, joined[..., end] - joined[..., start]], dim=-1)


def require_same_inputs(own: Inputs, saved: Inputs, task: Shape) -> None:
    """Raise `UserError` if networks that learned behind `saved` inputs would see other entries behind the `own`."""
    saved.build(task)
    numbers = torch.rand(task.observation_size + task.goal_size, generator=torch.Generator().manual_seed(0))
    probe = numbers.to(own.sources.device).split([task.observation_size, task.goal_size])
    if not torch.equal(saved.to(own.sources.device).join(*probe), own.join(*probe)):
        raise UserError(
            f"model.inputs is {type(own).__name__} with other entries than in the checkpoint; allowed: model.inputs as "
            "when it was written"
        )
