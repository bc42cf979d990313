"""Goal-reaching MuJoCo tasks in batches: one model, many states, stepped by several threads."""

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from mher_pl.envs.draw import prefer_offscreen_gl
from mher_pl.envs.goal import Array, GoalVectorEnv

CORES: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

_threads: ContextVar[int] = ContextVar("physics_threads", default=CORES)


@contextmanager
def physics_threads(threads: int) -> Iterator[None]:
    """Until the block ends, let batches that were given no number of their own step with `threads` threads."""
    token = _threads.set(threads)
    try:
        yield
    finally:
        _threads.reset(token)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(CORES - 1, 1), thread_name_prefix="mher_pl-physics")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def share(work: Callable[[Iterator[int]], None], copies: int, threads: int) -> None:
    """Let `threads` threads, this one among them, draw the copies 0, 1, ... from one iterator until none is left."""
    queue = iter(range(copies))  # drawing from a range is atomic, so each copy is drawn once
    others = [_pool().submit(work, queue) for _ in range(min(threads, copies) - 1)]
    try:
        work(queue)
    finally:
        for other in others:
            other.result()


class MujocoVectorEnv(GoalVectorEnv):
    """Copies of one MuJoCo model, each with its own `MjData`, that advance by `substeps` of `mj_step` per control step.

    `mj_step` releases Python's global lock, so threads step copies side by side; the Python around it is what limits
    the speed. A task therefore splits its step in two kinds of hooks:

    - whole-batch hooks, called once a step: `_controls` turns actions [N, action] into what `_apply` needs, and `_read`
      gives the observation [N, obs] and the achieved goal [N, goal], from views and from what `_measure` noted;
    - one-copy hooks, called in a thread for each copy and kept as short as can be: `_apply` before the physics,
      `_settle` after it, `_measure` last (and after a reset). They touch only their own copy's `MjData` and rows.

    `_reset_data` puts one `MjData` in an initial state and returns the goal; a reset that simulates should do so once
    and copy the outcome. Arrays of an `MjData` stay where they are, so views of them (`data.qpos`) can be kept.
    A single environment is a `GoalEnv` whose `batch_class` is the task.
    """

    camera: dict[str, Any] | None = None  # of the picture: distance, azimuth, elevation, lookat
    size = 480  # of the picture, in pixels

    def __init__(
        self,
        num_envs: int,
        model: mujoco.MjModel,
        substeps: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        threads: int | None = None,
    ):
        """Take the model, which no copy may change, and how many threads step it, if not those of `physics_threads`."""
        super().__init__(num_envs, observation_space, action_space, max_episode_steps, render_mode)
        if render_mode == "rgb_array":
            prefer_offscreen_gl()
        self.model = model
        self.substeps = substeps
        self.threads = threads
        self.datas = [mujoco.MjData(model) for _ in range(self.num_envs)]
        self._renderer: Any = None
        self._scene: mujoco.MjData | None = None

    @abstractmethod
    def _reset_data(self, copy: int, data: mujoco.MjData, rng: np.random.Generator) -> ArrayLike:
        """Put the state of one copy into an initial one, consistent (`mj_forward`), and return its goal, [goal]."""

    def _controls(self, actions: NDArray[np.floating]) -> Array:
        """Turn clipped actions [N, action] into the controls that `_apply` takes, [N, ...]."""
        return actions.astype(np.float64)

    def _apply(self, copy: int, data: mujoco.MjData, control: Array) -> None:
        """Set what drives the physics of one copy."""
        data.ctrl[:] = control

    def _settle(self, copy: int, data: mujoco.MjData) -> None:
        """Correct the state of one copy after the physics, where the task does so."""

    def _measure(self, copy: int, data: mujoco.MjData) -> None:
        """Note what `_read` needs of one copy and cannot read from views of its arrays."""

    def _mark_goal(self, copy: int, scene: mujoco.MjData) -> None:
        """Show the goal of one copy in `scene`, a state that is only drawn: move a site (`scene.site_xpos`) there."""

    def _reset_copy(self, copy: int, rng: np.random.Generator) -> ArrayLike:
        goal = self._reset_data(copy, self.datas[copy], rng)
        self._measure(copy, self.datas[copy])
        return goal

    def _advance(self, actions: NDArray[np.floating]) -> None:
        controls = self._controls(actions)
        model, datas, substeps = self.model, self.datas, self.substeps
        apply, settle, measure, mj_step = self._apply, self._settle, self._measure, mujoco.mj_step

        def work(copies: Iterator[int]) -> None:
            for copy in copies:
                data = datas[copy]
                apply(copy, data, controls[copy])
                mj_step(model, data, substeps)
                settle(copy, data)
                measure(copy, data)

        share(work, self.num_envs, self.threads or _threads.get())

    def _draw(self, copy: int, render_mode: str) -> NDArray[np.uint8] | None:
        if self._renderer is None:
            from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

            self._scene = mujoco.MjData(self.model)
            self._renderer = MujocoRenderer(self.model, self._scene, self.camera, self.size, self.size)
        # A state of its own: `mj_forward` moves the places of bodies, which lag a substep behind and from which some
        # tasks' next targets start.
        mujoco.mj_copyData(self._scene, self.model, self.datas[copy])
        mujoco.mj_forward(self.model, self._scene)
        self._mark_goal(copy, self._scene)
        return self._renderer.render(render_mode)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window or the drawing context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
