"""Goal-reaching tasks stepped in batches, and the single environment as a batch of one."""

from abc import ABC, abstractmethod
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import error, spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")
Array = NDArray[np.float64]
Batch = dict[str, Array]  # observation [N, obs], achieved_goal [N, goal], desired_goal [N, goal]


class GoalVectorEnv(VectorEnv, ABC):
    """`num_envs` copies of one goal-reaching task, stepped together, each with its own random generator.

    Episodes end by truncation only, and a finished copy must be reset (autoreset is disabled). `reset(seed=s)` seeds
    the copies with s, s + 1, ...; options are `desired_goal` ([goal] or [N, goal]) and `reset_mask` ([N] of bool).

    A task is a subclass that sets `threshold` and implements the hooks `_reset_copy`, `_advance` and `_read`, and
    `_draw` where it can be drawn.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array", "human"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    autoreset_mode = AutoresetMode.DISABLED  # TorchRL looks here rather than in the metadata
    threshold: float  # a goal is reached at this distance (Euclidean) or below

    def __init__(
        self,
        num_envs: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        """Take the spaces of one copy; without `max_episode_steps` episodes have no end."""
        if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise error.Error(f"num_envs is {num_envs!r}; allowed: an integer of at least 1")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise error.Error(f"max_episode_steps is {max_episode_steps!r}; allowed: an integer of at least 1, or None")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise error.UnsupportedMode(f"render_mode is {render_mode!r}; allowed: {self.metadata['render_modes']}")
        self.num_envs = int(num_envs)
        self.max_episode_steps = max_episode_steps
        self.render_mode = render_mode
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(action_space, self.num_envs)
        self.goal_space = cast(spaces.Box, observation_space["desired_goal"])
        self.goals = np.zeros((self.num_envs, *self.goal_space.shape))  # [N, goal]
        self.rngs: list[np.random.Generator | None] = [None] * self.num_envs
        self._seeds: list[int | None] = [None] * self.num_envs
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._needs_reset = np.ones(self.num_envs, dtype=bool)
        # Python floats: comparing an array with them is quicker than with the bounds' own arrays.
        self._low, self._high = float(action_space.low.min()), float(action_space.high.max())

    # What a task implements

    @abstractmethod
    def _reset_copy(self, copy: int, rng: np.random.Generator) -> ArrayLike:
        """Put one copy into an initial state and return its goal, [goal]."""

    def _place_goal(self, copy: int, goal: ArrayLike) -> None:
        """Give one copy another goal, [goal], than the one its reset returned."""
        self.goals[copy] = goal

    @abstractmethod
    def _advance(self, actions: NDArray[np.floating]) -> None:
        """Apply actions [N, action], already clipped to the action space, for one step of every copy."""

    @abstractmethod
    def _read(self) -> tuple[Array, Array]:
        """Return fresh arrays: observation [N, obs] and achieved goal [N, goal]."""

    def _draw(self, copy: int, render_mode: str) -> NDArray[np.uint8] | None:
        """Return a picture of one copy, [height, width, 3], or show it in a window where the mode is `human`."""
        raise NotImplementedError(f"{type(self).__name__} cannot be drawn")

    # Gymnasium's side

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Batch, dict[str, Any]]:
        """Start a new episode in every copy, or in those of `options["reset_mask"]`."""
        options = dict(options or {})
        mask, goal = options.pop("reset_mask", None), options.pop("desired_goal", None)
        if options:
            raise error.Error(f"reset options has {sorted(options)}; allowed: 'desired_goal', 'reset_mask'")
        mask = self._checked_mask(mask)
        goals = None if goal is None else self._checked_goals(goal)
        for copy, copy_seed in enumerate(self._checked_seeds(seed)):
            if not mask[copy]:
                continue
            rng = self.rngs[copy]
            if copy_seed is not None or rng is None:
                rng, self._seeds[copy] = seeding.np_random(copy_seed)
                self.rngs[copy] = rng
            self.goals[copy] = self._reset_copy(copy, rng)
            if goals is not None:
                self._place_goal(copy, goals[copy])
        self._elapsed[mask] = 0
        self._needs_reset[mask] = False
        observation, achieved = self._read()
        return self._batch(observation, achieved), {}

    def step(self, actions: ArrayLike) -> tuple[Batch, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance every copy by one control step."""
        actions = self._checked_actions(actions)
        if self._needs_reset.any():
            copies = np.flatnonzero(self._needs_reset)[:5].tolist()
            raise error.ResetNeeded(f"reset() must come before step(): no running episode in copies {copies}, ...")
        self._advance(np.minimum(np.maximum(actions, self._low), self._high))
        observation, achieved = self._read()
        rewards, success = self._judge(achieved)
        self._elapsed += 1
        if self.max_episode_steps is None:
            truncations = np.zeros(self.num_envs, dtype=bool)
        else:
            truncations = self._elapsed >= self.max_episode_steps
            self._needs_reset = truncations.copy()
        terminations = np.zeros(self.num_envs, dtype=bool)
        return self._batch(observation, achieved), rewards, terminations, truncations, {"is_success": success}

    def compute_reward(
        self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None
    ) -> NDArray[np.float32]:
        """Return 0 where the goal is reached and -1 elsewhere, [...], for goals [..., goal]."""
        return self._reached(*self._checked_pair(achieved_goal, desired_goal)).astype(np.float32) - np.float32(1)

    def render(self) -> tuple[NDArray[np.uint8] | None, ...] | None:
        """Return a picture of every copy."""
        if self.render_mode == "rgb_array":
            return tuple(self._draw(copy, "rgb_array") for copy in range(self.num_envs))
        if self.render_mode == "human":
            raise error.UnsupportedMode("a window shows a single environment; a batch is drawn by 'rgb_array'")
        return None

    @property  # type: ignore[misc]  # the base class has a setter, for a batch of environments without generators
    def np_random(self) -> tuple[np.random.Generator | None, ...]:
        """The generator of each copy, None before its first reset."""
        return tuple(self.rngs)

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:
        """The seed of each copy's generator, None before its first reset."""
        return tuple(self._seeds)

    def _reached(self, achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[np.bool_]:
        return np.sqrt(np.square(achieved - desired).sum(axis=-1)) <= self.threshold

    def _judge(self, achieved: Array) -> tuple[Array, NDArray[np.float32]]:
        """Return the rewards [N] and whether each copy is at its goal [N] (1 or 0, as gymnasium-robotics has it)."""
        reached = self._reached(achieved, self.goals)
        return reached.astype(np.float64) - 1.0, reached.astype(np.float32)

    def _batch(self, observation: Array, achieved: Array) -> Batch:
        return {"observation": observation, "achieved_goal": achieved, "desired_goal": self.goals.copy()}

    def _checked_actions(self, actions: ArrayLike) -> NDArray[np.floating]:
        actions = np.asarray(actions)
        if actions.dtype.kind != "f":
            actions = actions.astype(np.float64)
        if actions.shape != self.action_space.shape:
            raise error.InvalidAction(f"the action has shape {actions.shape}; allowed: {self.action_space.shape}")
        if np.isnan(actions).any():
            copies = np.flatnonzero(np.isnan(actions).any(axis=-1))[:5].tolist()
            raise error.InvalidAction(f"the action holds NaN in copies {copies}; allowed: numbers")
        return actions

    def _checked_pair(self, achieved_goal: ArrayLike, desired_goal: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        achieved, desired = np.asarray(achieved_goal), np.asarray(desired_goal)
        if achieved.shape != desired.shape or achieved.shape[-1:] != self.goals.shape[1:]:
            raise error.Error(
                f"achieved_goal has shape {achieved.shape} and desired_goal {desired.shape}; "
                f"allowed: the same shape, ending in {self.goals.shape[1]}"
            )
        return achieved, desired

    def _checked_seeds(self, seed: int | list[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + copy for copy in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise error.Error(f"seed holds {len(seed)} values; allowed: an integer, or one for each of {self.num_envs}")
        return [None if value is None else int(value) for value in seed]

    def _checked_mask(self, mask: ArrayLike | None) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=bool)
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise error.Error(f"reset_mask is {mask!r}; allowed: {self.num_envs} booleans, at least one of them True")
        return mask

    def _checked_goals(self, goal: ArrayLike) -> Array:
        space = self.goal_space
        goals = np.asarray(goal, dtype=np.float64)
        if goals.shape not in (space.shape, self.goals.shape):
            raise error.Error(f"desired_goal has shape {goals.shape}; allowed: {space.shape} or {self.goals.shape}")
        if not (np.isfinite(goals).all() and (goals >= space.low).all() and (goals <= space.high).all()):
            raise error.Error(f"desired_goal is {goals.tolist()}; allowed: finite numbers inside {space}")
        return np.broadcast_to(goals, self.goals.shape)


class GoalEnv(gymnasium.Env):
    """One goal-reaching environment: a batch of one behind Gymnasium's single-environment face."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 10}
    batch_class: type[GoalVectorEnv]

    def __init__(self, render_mode: str | None = None, **kwargs: Any):
        """Take the keyword arguments of `batch_class`."""
        self.batch = self.batch_class(num_envs=1, render_mode=render_mode, **kwargs)
        self.render_mode = render_mode
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Start an episode; `options` may hold `desired_goal` [goal]."""
        super().reset(seed=seed)
        self.batch.rngs[0] = self.np_random
        observations, info = self.batch.reset(options=options)
        if self.render_mode == "human":
            self.render()
        return {key: value[0] for key, value in observations.items()}, info

    def step(self, action: ArrayLike) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Advance by one control step; the episode's end is the `TimeLimit` wrapper's business."""
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise error.InvalidAction(f"the action has shape {action.shape}; allowed: {self.action_space.shape}")
        observations, rewards, _, _, infos = self.batch.step(action[None])
        if self.render_mode == "human":
            self.render()
        observation = {key: value[0] for key, value in observations.items()}
        return observation, float(rewards[0]), False, False, {"is_success": infos["is_success"][0]}

    def compute_reward(
        self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None
    ) -> NDArray[np.float32]:
        """Return 0 where the goal is reached and -1 elsewhere, [...], for goals [..., goal]."""
        return self.batch.compute_reward(achieved_goal, desired_goal, info)

    def compute_terminated(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None) -> bool:
        """Return False: reaching the goal does not end an episode."""
        return False

    def compute_truncated(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None) -> bool:
        """Return False: only the `TimeLimit` wrapper ends an episode."""
        return False

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the environment: [height, width, 3] for `rgb_array`, a window for `human`."""
        return None if self.render_mode is None else self.batch._draw(0, self.render_mode)

    def close(self) -> None:
        """Release what the drawing holds."""
        self.batch.close()
