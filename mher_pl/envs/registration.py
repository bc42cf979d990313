"""Gymnasium ids of the tasks, and `make` and `make_vec`, which give each task with its own episode length."""

import contextlib
import copy
import importlib
import io
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import error, spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import RescaleAction

from mher_pl.envs.draw import prefer_offscreen_gl

log = logging.getLogger(__name__)

EPISODE_STEPS = 100  # the paper's episode length, on every task of it
TASKS = {  # id: (module, class of the single environment, class of the batch)
    "mher_pl/Point2DLarge-v1": ("mher_pl.envs.point2d", "Point2DEnv", "Point2DVectorEnv"),
    "mher_pl/Point2DFourRoom-v1": ("mher_pl.envs.point2d", "FourRoomEnv", "FourRoomVectorEnv"),
    "mher_pl/SawyerReachXYZ-v1": ("mher_pl.envs.sawyer", "SawyerReachEnv", "SawyerReachVectorEnv"),
    "mher_pl/Reacher-v1": ("mher_pl.envs.reacher", "ReacherEnv", "ReacherVectorEnv"),
}
# Ids of other packages whose episodes have another length here than there.
EPISODE_STEPS_OF_OTHERS = {"FetchReach-v4": EPISODE_STEPS}
# Ids of other packages that have a quicker form here, equal to their own bit by bit.
FETCH_TASKS = tuple(
    f"Fetch{task}{reward}-v4" for task in ("Reach", "Push", "PickAndPlace", "Slide") for reward in ("", "Dense")
)

_told: set[str] = set()


def register() -> None:
    """Register the tasks with Gymnasium; registering again changes nothing."""
    for task, (module, single, batch) in TASKS.items():
        if task not in gymnasium.registry:
            gymnasium.register(
                task,
                entry_point=f"{module}:{single}",
                vector_entry_point=f"{module}:{batch}",
                max_episode_steps=EPISODE_STEPS,
            )


def make(id: str, **kwargs: Any) -> gymnasium.Env:
    """Make one goal environment, `Name-v0` or `module:Name-v0`, with its own episode length.

    `kwargs` go to `gymnasium.make`. Actions are in [-1, 1], rescaled where the task has other bounds. The Fetch tasks
    of gymnasium-robotics come in a quicker form with the same numbers.
    """
    spec = _spec(id)
    if spec.id in EPISODE_STEPS_OF_OTHERS:
        kwargs.setdefault("max_episode_steps", EPISODE_STEPS_OF_OTHERS[spec.id])
    if spec.id in FETCH_TASKS:
        spec.kwargs["id"] = spec.id
        spec.entry_point = "mher_pl.envs.fetch:FetchEnv"
    if kwargs.get("render_mode") == "rgb_array":
        prefer_offscreen_gl()
    env = gymnasium.make(spec, **kwargs)
    _check_goal_spaces(spec.id, env.observation_space, env.unwrapped)
    if spec.id in TASKS or spec.id in FETCH_TASKS:
        return env
    space = env.action_space
    if isinstance(space, spaces.Box) and not (np.all(space.low == -1.0) and np.all(space.high == 1.0)):
        env = RescaleAction(env, np.float32(-1.0), np.float32(1.0))
    return SuccessInfo(env)


def make_vec(id: str, num_envs: int = 1, **kwargs: Any) -> VectorEnv:
    """Make `num_envs` copies of a goal environment, without autoreset, by the fastest exact way there is for it.

    `infos["is_success"]` is an array [num_envs]. Where no batched form exists the copies are stepped one after another,
    and the log says so once.
    """
    if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
        raise error.Error(f"num_envs is {num_envs!r}; allowed: an integer of at least 1")
    spec = _spec(id)
    if spec.id in TASKS:
        return gymnasium.make_vec(spec, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)
    if spec.id in FETCH_TASKS:
        from mher_pl.envs.fetch import FetchVectorEnv  # loads MuJoCo

        kwargs.setdefault("max_episode_steps", EPISODE_STEPS_OF_OTHERS.get(spec.id, spec.max_episode_steps))
        return FetchVectorEnv(spec.id, num_envs=num_envs, **kwargs)
    if spec.id not in _told:
        _told.add(spec.id)
        log.warning("%s takes the slow path: it has no batched form, so its copies are stepped one by one", spec.id)
    single: Callable[[], gymnasium.Env] = partial(make, id, **kwargs)
    return SyncVectorEnv([single] * num_envs, autoreset_mode=AutoresetMode.DISABLED)


class SuccessInfo(gymnasium.Wrapper):
    """Puts `is_success` into the info of environments that call it `success`, or say it by the reward of the goal."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and rename."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "is_success" not in info:
            if "success" not in info:
                goal = observation["desired_goal"]
                info["success"] = reward >= self.unwrapped.compute_reward(goal, goal, {})
            info["is_success"] = np.float32(info["success"])
        return observation, reward, terminated, truncated, info


def _spec(id: str) -> EnvSpec:
    """Look up an id, `Name-v0` or `module:Name-v0`, and return a copy of its specification."""
    module, _, id = id.rpartition(":")
    if module:
        importlib.import_module(module)  # registers its ids, as with `gymnasium.make`
    try:
        return copy.deepcopy(gymnasium.spec(id))
    except error.UnregisteredEnv:
        with contextlib.redirect_stderr(io.StringIO()):  # it prints a notice about tasks that nobody asked for
            import gymnasium_robotics  # its ids are known only after this import, which loads MuJoCo

        gymnasium.register_envs(gymnasium_robotics)
        return copy.deepcopy(gymnasium.spec(id))


def _check_goal_spaces(id: str, space: spaces.Space, env: gymnasium.Env) -> None:
    keys = ("observation", "achieved_goal", "desired_goal")
    is_goal_env = isinstance(space, spaces.Dict) and all(isinstance(space.spaces.get(key), spaces.Box) for key in keys)
    if not is_goal_env or not hasattr(env, "compute_reward"):
        raise error.Error(f"{id} is not a goal environment: it needs compute_reward and Box spaces {', '.join(keys)}")
