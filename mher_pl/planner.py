"""PlanGAN's planner: the first action of those paths to the goal that stay at it longest (its Algorithm 2)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from mher_pl.errors import UserError, require, require_int, require_positive, require_probability
from mher_pl.gan import Generators
from mher_pl.inputs import Inputs
from mher_pl.memory import require_memory
from mher_pl.one_step import OneStepModels
from mher_pl.parts import DynamicsModel, Part
from mher_pl.streams import Stream, stream_seed
from mher_pl.task import Task


class Imagination(Protocol):
    """What paths are imagined with."""

    task: Task
    inputs: Inputs
    actor: Generators
    dynamics: OneStepModels
    seed: int


class Planner(Part):
    """Tries initial actions of the generators on many imagined paths each, for all observations together.

    A path begins with an initial action, which a one-step model answers, and goes on with the generators. Which member
    of an ensemble takes a step of a path is drawn anew each time. An action is worth the share of its paths' states
    that are at the goal, by the task's own reward.

    All randomness is decided by the agent's seed and by the observations and goals of the call. So the plan is a
    function of them: to look at a run does not change it, and a loaded policy acts as the agent did.

    Args:
        initial_actions: of each observation, Q.
        copies: paths that begin with each of them, C.
        steps: of a path.
        model_share: share of the generators' next states that those of one-step models replace.
        choose: the `best` initial action, or the `mean` of all, weighted by exp(sharpness x standardised worth).
        sharpness: of these weights.
    """

    uses_model = True

    def __init__(
        self,
        initial_actions: int,
        copies: int,
        steps: int,
        model_share: float,
        choose: Literal["best", "mean"],
        sharpness: float,
    ) -> None:
        require_int("model.planner.initial_actions", initial_actions, 1)
        require_int("model.planner.copies", copies, 1)
        require_int("model.planner.steps", steps, 1)
        require_probability("model.planner.model_share", model_share)
        require(choose in ("best", "mean"), "model.planner.choose", choose, "best, mean")
        require_positive("model.planner.sharpness", sharpness)
        self.initial_actions, self.copies, self.steps = initial_actions, copies, steps
        self.model_share, self.choose, self.sharpness = model_share, choose, sharpness

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if observations do not show the achieved goal, which paths could then not begin with."""
        super().check(task, dynamics)
        if task.goal_indices is None:
            raise UserError(
                f"model is PlanGAN, but the achieved goal of {task.env} is no part of its observation; allowed: tasks "
                "where it is"
            )
        paths = self.initial_actions * self.copies  # for an observation
        numbers = self.steps * 2 * task.goal_size + 2 * task.state_size  # of each path
        require_memory("model.planner.copies", self.copies, 4 * paths * numbers)

    def __call__(self, mind: Imagination, observation: Tensor, goal: Tensor) -> Tensor:
        """Return actions [..., action] for observations [..., obs] and goals [..., goal], on their device."""
        leading = observation.shape[:-1]
        state, goal = observation.reshape(-1, observation.shape[-1]), goal.reshape(-1, goal.shape[-1])  # [N, ...]
        seen = zlib.crc32(torch.cat([state, goal], dim=-1).numpy(force=True).tobytes())
        generator = torch.Generator(state.device).manual_seed(stream_seed(mind.seed, Stream.PLANS, seen))
        state, goal = (rows.repeat_interleave(self.initial_actions, dim=0) for rows in (state, goal))  # [N Q, ...]
        action, _ = self.generate(mind, state, goal, generator)
        shape = len(state) // self.initial_actions, self.initial_actions, -1
        worth = self.worth(mind, state, action, goal, generator).view(shape).mean(dim=-1)  # [N, Q]
        return self.choice(action.view(shape), worth).view(*leading, -1)

    def worth(
        self, mind: Imagination, state: Tensor, action: Tensor, goal: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the share of states at the goal [N Q C] of C paths for each state and initial action [N Q, ...]."""
        state, action, goal = (rows.repeat_interleave(self.copies, dim=0) for rows in (state, action, goal))
        state = self.predict(mind, state, action, generator)  # [N Q C, state]
        achieved = [mind.task.phi(state)]
        for _ in range(self.steps - 1):
            state = self.step(mind, state, goal, generator)
            achieved.append(mind.task.phi(state))
        # All at once: the task's reward is computed off the device.
        reward = mind.task.reward(torch.cat(achieved), goal.repeat(self.steps, 1))
        return 1.0 + reward.view(self.steps, -1).mean(dim=0)

    def step(self, mind: Imagination, state: Tensor, goal: Tensor, generator: torch.Generator) -> Tensor:
        """Take a step of every path: the generators', or for some the one-step models' answer to their action."""
        action, reached = self.generate(mind, state, goal, generator)
        replaced = int(self.model_share * len(state))
        if replaced:
            rows = torch.randperm(len(state), generator=generator, device=state.device)[:replaced]
            reached[rows] = self.predict(mind, state[rows], action[rows], generator)
        return reached

    def generate(
        self, mind: Imagination, state: Tensor, goal: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return actions [R, action] and next states [R, state], of a generator drawn for each row."""
        sizes = [mind.task.action_size, mind.task.state_size]
        inputs = mind.inputs(state, goal)
        outputs = by_random_members(
            mind.actor.members, lambda rows: torch.cat(mind.actor(rows, generator), dim=-1), inputs, generator
        )
        action, reached = outputs.split(sizes, dim=-1)
        return action, mind.task.keep_shown_goal(mind.dynamics.state_normalizer.inverse(reached), state)

    def predict(self, mind: Imagination, state: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return next states [R, state], of a one-step model drawn for each row."""
        size = state.shape[-1]
        return by_random_members(
            mind.dynamics.members,
            lambda rows: mind.dynamics.predict_each(rows[..., :size], rows[..., size:]),
            torch.cat([state, action], dim=-1),
            generator,
        )

    def choice(self, action: Tensor, worth: Tensor) -> Tensor:
        """Return the actions [N, action] to take, of initial ones [N, Q, action] and what they are worth [N, Q]."""
        if self.choose == "best":
            return action[torch.arange(len(action), device=action.device), worth.argmax(dim=1)]
        deviation, mean = torch.std_mean(worth, dim=1, correction=0, keepdim=True)
        weights = torch.softmax(self.sharpness * (worth - mean) / (deviation + 1e-4), dim=1)  # alike where all are
        return (weights.unsqueeze(-1) * action).sum(dim=1)


def by_random_members(
    members: int, answer: Callable[[Tensor], Tensor], rows: Tensor, generator: torch.Generator
) -> Tensor:
    """Let a member drawn for each row [R, in] answer it, as many rows for each.

    Args:
        members: of the ensemble, E.
        answer: maps rows [E, R/E, in], each member its own, to outputs [E, R/E, out].
        rows: to share out.
        generator: draws.
    """
    count, share = len(rows), -(-len(rows) // members)
    order = torch.randperm(count, generator=generator, device=rows.device)
    filled = order.repeat(members)[: members * share]  # a few rows twice, so that all members have as many
    answers = answer(rows[filled].view(members, share, -1)).flatten(0, 1)[:count]
    outputs = torch.empty_like(answers)
    outputs[order] = answers
    return outputs
