"""How training episodes explore around the actor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mher_pl.errors import UserError, require, require_at_least, require_int, require_probability
from mher_pl.parts import DynamicsModel, Part
from mher_pl.task import Task

Act = Callable[[Tensor, Tensor], Tensor]  # actions [..., action] of observations [..., obs] and goals


class GuidePolicy(Protocol):
    """What leads an exploration: it brings some point, such as the gripper, to others, such as the object."""

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return actions [N, action] that bring it to the points `goal` [N, goal]."""

    def place(self, observation: Tensor) -> Tensor:
        """Return where it is [N, goal]."""

    def target(self, observation: Tensor) -> Tensor:
        """Return where it belongs [N, goal]."""


class Exploration(Part, ABC):
    """Acts in training episodes."""

    def meet(self, guide: GuidePolicy | None) -> None:
        """Take note of the agent's guide, if it has one, before the first episode."""

    @abstractmethod
    def __call__(
        self,
        act: Act,
        observation: Tensor,
        goal: Tensor,
        action_size: int,
        generator: torch.Generator,
        random: bool,
        begins: bool,
    ) -> Tensor:
        """Return actions [N, action] in [-1, 1] for the observations of N environments.

        Args:
            act: the deterministic actor.
            observation: of the environments [N, obs].
            goal: the desired ones [N, goal].
            action_size: entries of an action.
            generator: source of all randomness.
            random: whether the actions are to be uniformly random, as in the warm-up.
            begins: whether the episodes begin with this step.
        """


class NoisyActor(Exploration):
    """The actor with Gaussian noise, and now and then a uniformly random action instead (Section 5.1).

    Args:
        noise: standard deviation of the noise on actions in [-1, 1].
        random_action_probability: chance of a uniform action.
    """

    def __init__(self, noise: float, random_action_probability: float) -> None:
        require_at_least("data.exploration.noise", noise, 0.0)
        require_probability("data.exploration.random_action_probability", random_action_probability)
        self.noise, self.random_action_probability = noise, random_action_probability
        self.held: list[int] = []  # entries of an action that no uniform one replaces, after the warm-up

    def __call__(
        self,
        act: Act,
        observation: Tensor,
        goal: Tensor,
        action_size: int,
        generator: torch.Generator,
        random: bool,
        begins: bool,
    ) -> Tensor:
        """Return actions [N, action] in [-1, 1]."""
        act = self.led(act, observation, begins, generator)
        draws = torch.rand(len(observation), action_size + 1, generator=generator)
        blind = draws[:, 0] < self.random_action_probability  # [N] take a uniform action
        rows, uniform = blind.tolist(), 2.0 * draws[:, 1:] - 1.0
        if random or (all(rows) and not self.held):
            return uniform
        action = act(observation, goal)  # [N, action]
        action = (action + self.noise * torch.randn(action.shape, generator=generator)).clamp(-1.0, 1.0)
        uniform[:, self.held] = action[:, self.held]
        return torch.where(blind.unsqueeze(-1), uniform, action) if any(rows) else action

    def led(self, act: Act, observation: Tensor, begins: bool, generator: torch.Generator) -> Act:
        """Return what acts before the noise: the actor."""
        return act


class Guided(NoisyActor):
    """By turns the actor, and the agent's guide on its way to points around where it belongs, both with noise.

    RHER (Luo et al. 2022) lets a guide bring the gripper to the object. From there the object goes one way alone, on
    from where the gripper came. Going to and fro between points around the object, the gripper meets it from all sides.
    Where it is far from the object it is led there in the actor's turns, too.

    Args:
        noise: standard deviation of the noise on actions in [-1, 1].
        random_action_probability: chance of a uniform action.
        guided: chance that a turn is the guide's.
        steps: mean length of a turn.
        spread: standard deviations of the points around the guide's target, one for each entry of a goal.
        far: distance from the target beyond which the guide leads.
        held: entries of an action that are held at -1 or 1, by chance, throughout a turn of the guide, which does not
            need them, such as the fingers' of a gripper. No uniform action has a say in them, in any turn: a grip
            would not last.
    """

    def __init__(
        self,
        noise: float,
        random_action_probability: float,
        guided: float,
        steps: int,
        spread: list[float],
        far: float,
        held: list[int],
    ) -> None:
        super().__init__(noise, random_action_probability)
        require_probability("data.exploration.guided", guided)
        require_int("data.exploration.steps", steps, 1)
        for value in spread:
            require_at_least("data.exploration.spread", value, 0.0)
        require_at_least("data.exploration.far", far, 0.0)
        self.guided, self.steps, self.spread, self.far, self.held = guided, steps, spread, far, held

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if points have other entries than goals, or entries are none of an action."""
        allowed = f"{task.goal_size} numbers, one for each entry of a goal"
        require(len(self.spread) == task.goal_size, "data.exploration.spread", self.spread, allowed)
        entries = all(0 <= entry < task.action_size for entry in self.held)
        require(entries, "data.exploration.held", self.held, f"entries of an action, from 0 to {task.action_size - 1}")

    def meet(self, guide: GuidePolicy | None) -> None:
        """Take note of the guide.

        Raises:
            UserError: there is none.
        """
        if guide is None:
            raise UserError(
                "data.exploration is Guided, but the agent has no guide; allowed: model mher_pl.relay.Relay, or "
                "another exploration"
            )
        self.guide = guide

    def led(self, act: Act, observation: Tensor, begins: bool, generator: torch.Generator) -> Act:
        """Return what acts before the noise: by turns the actor and the guide."""
        leads, points = self._take_turns(observation, begins, generator)  # [N], [N, goal]

        def by_turns(observation: Tensor, goal: Tensor) -> Tensor:
            if not leads.any():
                return act(observation, goal)
            guided = self.guide.act(observation, points)
            guided[:, self.held] = self.values
            return guided if leads.all() else torch.where(leads.unsqueeze(-1), guided, act(observation, goal))

        return by_turns

    def _take_turns(self, observation: Tensor, begins: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return where the guide leads [N], and to which points [N, goal].

        A turn, the guide's or the actor's, begins with the episode and else with a chance of 1 / steps.
        """
        target = self.guide.target(observation)  # [N, goal]
        draws = torch.rand(len(target), 2 + len(self.held), generator=generator)
        values = (draws[:, 2:] < 0.5) * 2.0 - 1.0  # [N, held]
        points = target + torch.tensor(self.spread) * torch.randn(target.shape, generator=generator)
        if begins:
            self.points, self.leads, self.values = points, draws[:, 0] < self.guided, values
        else:
            new = draws[:, 1] < 1.0 / self.steps  # [N]
            self.leads = torch.where(new, draws[:, 0] < self.guided, self.leads)
            self.points = torch.where(new.unsqueeze(-1), points, self.points)
            self.values = torch.where(new.unsqueeze(-1), values, self.values)
        far = torch.linalg.vector_norm(self.guide.place(observation) - target, dim=-1) > self.far  # [N]
        return self.leads | far, torch.where(far.unsqueeze(-1), target, self.points)
