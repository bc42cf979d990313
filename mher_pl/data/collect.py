"""Collecting whole episodes with exploration around the actor."""

from __future__ import annotations

from errno import ENOSPC
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torch import nn
from torchrl.collectors import Collector

from mher_pl.data.episode import not_finite
from mher_pl.data.episode_env import EpisodeEnv
from mher_pl.data.source import EpisodeSource
from mher_pl.envs import has_batch, make_vec
from mher_pl.errors import NonFiniteError, UserError, reason_of
from mher_pl.exploration import Act, Exploration
from mher_pl.memory import is_out_of_memory
from mher_pl.parts import require_like
from mher_pl.practice import Practice
from mher_pl.streams import Stream, go_on, stream_generator
from mher_pl.task import Task

ROUNDING = 1e-6  # by which an action may lie outside [-1, 1]


class ExploringPolicy(nn.Module):
    """An exploration around the actor under the practised goals, as TorchRL calls it."""

    def __init__(
        self,
        task: Task,
        exploration: Exploration,
        practice: Practice,
        act: Act,
        env: EpisodeEnv,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.task, self.exploration, self.practice, self.generator = task, exploration, practice, generator
        self.act = act  # a bound method, so that the agent is no submodule that the collector would copy
        self.standing_still = lambda: env.envs.all_ended  # likewise
        self.begins = lambda: env.running.steps == 0
        self.nothing = torch.zeros(env.action_spec.shape)  # [N, action]
        self.random = False

    def forward(self, step: TensorDictBase) -> TensorDictBase:
        """Write the `desired_goal` [N, goal] that is pursued, and the `action` [N, action]."""
        if self.standing_still():
            return step.set("action", self.nothing.clone())
        begins, size = self.begins(), self.nothing.shape[-1]
        goal = self.practice(self.task, step["achieved_goal"], step["desired_goal"], begins, self.generator)
        require_like("data.practice", self.practice, "goals", goal, step["desired_goal"])
        action = self.exploration(self._act, step["observation"], goal, size, self.generator, self.random, begins)
        require_like("data.exploration", self.exploration, "actions", action, self.nothing)
        return step.set("desired_goal", goal).set("action", action)

    def _act(self, observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        if len(observation) == 1:  # as a vector, which takes less time than a matrix of one row
            return self.act(observation[0], goal[0]).unsqueeze(0)
        return self.act(observation, goal)


class Collected(EpisodeSource):
    """Episodes of the environment, collected by TorchRL's `Collector`, one whole episode of each copy at a time."""

    def open(
        self,
        task: Task,
        env_kwargs: dict[str, Any],
        num_envs: int,
        exploration: Exploration,
        practice: Practice,
        act: Act,
        seed: int,
    ) -> None:
        """Make the environments; the first episodes are collected when they are asked for.

        Raises:
            UserError: their processes ended as they began, or they cannot be made again.
        """
        self.task = task
        try:
            envs = make_vec(task.env, num_envs=num_envs, processes=num_envs > 1, **env_kwargs)
        except Exception as error:
            if is_out_of_memory(error) or (isinstance(error, OSError) and error.errno == ENOSPC):
                raise
            if isinstance(error, EOFError | ConnectionError) and num_envs > 1 and not has_batch(task.env):
                raise UserError(
                    f"data.num_envs is {num_envs}, whose processes ended at their start; allowed: 1, or an id that "
                    "they can import, module:Name-v0, and make, and in a script all that trains below if __name__ == "
                    "'__main__'"
                ) from error
            raise UserError(
                f"data.env is {task.env!r}, which could be made once and not again ({reason_of(error)}); allowed: one "
                "that is made anew for training, and for evaluations beside it"
            ) from error
        self.env = EpisodeEnv(envs, task.horizon, seed)
        self.practice = practice
        generator = stream_generator(seed, Stream.EXPLORATION)
        self.policy = ExploringPolicy(task, exploration, practice, act, self.env, generator)
        self.collector: Collector | None = None

    def next(self, random: bool = False) -> TensorDict:
        """Run an episode in every copy, with uniformly random actions if `random`.

        Raises:
            UserError: a step gave another reward than `compute_reward`, an observation does not show its goal, or an
                action of the exploration has another form or lies outside [-1, 1].
            NonFiniteError: an observation or action is NaN or infinite.
            EnvironmentFailed: the environment raised an error.
        """
        if self.collector is None:
            state = self.policy.generator.get_state()
            states = [(part, part.worker_state()) for part in (self.practice, self.policy.exploration)]
            self.collector = Collector(
                self.env,
                self.policy,
                frames_per_batch=self.task.horizon * self.env.envs.num_envs,
                total_frames=-1,
                trust_policy=True,
                track_traj_ids=False,
                auto_register_policy_transforms=False,
            )
            self.frames = iter(self.collector)
            self.policy.generator.set_state(state)  # the collector tried the policy out
            for part, before in states:
                part.load_worker_state(before)
        self.policy.random = random
        frames, finished = next(self.frames), self.env.finished  # [N, T]
        at_goal, passed = finished.rewarded(self.task.rewards[1])  # [N]
        episodes = TensorDict(
            {
                "observation": _states(frames, "observation"),
                "achieved_goal": _states(frames, "achieved_goal"),
                "desired_goal": frames["desired_goal"],
                "action": frames["action"],
                "length": torch.from_numpy(finished.lengths.copy()),
                "failed": torch.from_numpy(finished.terminated & ~at_goal),
                "is_success": torch.from_numpy(finished.is_success.copy()),
            },
            batch_size=[len(at_goal)],
        )
        if found := not_finite(episodes):
            key, place = found
            raise NonFiniteError(f"{key} of training episode {finished.number + place} is NaN or infinite")
        if (largest := episodes["action"].abs().max()) > 1.0 + ROUNDING:
            name = type(self.policy.exploration).__name__
            raise UserError(
                f"data.exploration is {name}, which gives {largest:.3g} in an action; allowed: from -1 to 1"
            )
        finished.check(self.task, episodes["observation"])
        self.task.see(bool((finished.terminated & at_goal).any()), bool(passed.any()))
        return episodes

    def worker_state(self) -> dict[str, Any]:
        """Return the number of the next episode and the state of the exploration's generator."""
        # The next episode is already reset, but not stepped, once a whole one was collected.
        return {
            "episode": self.env.episode,
            "generator": self.policy.generator.get_state(),
            "seen": self.task.seen,
        }

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore what `worker_state` returned, before the first episode is collected."""
        self.env.episode = state["episode"]
        self.task.see(**state["seen"])
        go_on(self.policy.generator, state["generator"])

    def close(self) -> None:
        """Close the environment."""
        if self.collector is None:
            self.env.close()
        else:
            self.collector.shutdown()


def _states(frames: TensorDictBase, key: str) -> torch.Tensor:
    """Join the T states before the actions and the last one after them, [N, T+1, size]."""
    return torch.cat([frames[key], frames["next", key][:, -1:]], dim=1)
