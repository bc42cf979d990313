"""Whole episodes of a batch, which need not end together."""

from typing import Any, cast

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from mher_pl.envs.goal import GOAL_KEYS, Batch


class WholeEpisodes(VectorWrapper):
    """Lets a copy whose episode has ended stand still until the others' have ended, too.

    From its end on a copy shows its last observation and keeps its `is_success`, with rewards of 0. `ended` [N] says
    which ones have ended, `lengths` [N] after how many steps and `terminated` [N] which ended by termination; `steps`,
    `observation` and `is_success` are those of the last step. Of observations it shows the three goal vectors alone.
    """

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        self._start()

    def _start(self) -> None:
        self.ended = np.zeros(self.num_envs, dtype=bool)
        self.terminated = np.zeros(self.num_envs, dtype=bool)
        self.lengths = np.zeros(self.num_envs, dtype=np.int64)
        self.is_success = np.zeros(self.num_envs, dtype=bool)
        self.observation: Batch = {}
        self.steps = 0
        self.all_ended = self._some_ended = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """Begin a new episode in every copy."""
        self._start()
        observation, info = self.env.reset(seed=cast(Any, seed), options=options)
        self.observation = {key: observation[key] for key in GOAL_KEYS}
        return self.observation, info

    def step(self, actions: Any) -> tuple[Batch, Any, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step the copies that have not ended."""
        shown, rewards, terminations, truncations, info = self.env.step(actions)
        observation = {key: shown[key] for key in GOAL_KEYS}
        success = np.asarray(info["is_success"], dtype=bool)
        over, ended = terminations | truncations, self.ended
        self.steps += 1
        if self._some_ended:
            for key, values in observation.items():
                values[ended] = self.observation[key][ended]
            rewards = np.where(ended, 0.0, rewards)
            success = np.where(ended, self.is_success, success)
            terminations = np.where(ended, self.terminated, terminations)
        self.observation, self.is_success, self.terminated = observation, success, terminations
        if over.any():
            self.lengths[over & ~ended] = self.steps
            self.ended = ended | over
            self._some_ended, self.all_ended = True, bool(self.ended.all())
            if not self.all_ended:
                self.env.reset(options={"reset_mask": over})  # those that have ended must not be stepped on
        return observation, rewards, terminations, self.ended & ~terminations, {"is_success": success}
