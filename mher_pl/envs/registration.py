"""Gymnasium ids of the tasks, and `make` and `make_vec`, which give each task with its own episode length."""

import contextlib
import copy
import importlib
import io
import logging
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import error, spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import RescaleAction, TransformAction
from numpy.typing import NDArray

from mher_pl.envs.draw import prefer_offscreen_gl
from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.envs.process import ProcessEnvs

log = logging.getLogger(__name__)

EPISODE_STEPS = 100  # the paper's episode length, on every task of it
TASKS = {  # id: (module, class of the single environment, class of the batch)
    "mher_pl/Point2DLarge-v1": ("mher_pl.envs.point2d", "Point2DEnv", "Point2DVectorEnv"),
    "mher_pl/Point2DFourRoom-v1": ("mher_pl.envs.point2d", "FourRoomEnv", "FourRoomVectorEnv"),
    "mher_pl/SawyerReachXYZ-v1": ("mher_pl.envs.sawyer_reach", "SawyerReachEnv", "SawyerReachVectorEnv"),
    "mher_pl/SawyerDoor-v1": ("mher_pl.envs.sawyer_door", "SawyerDoorEnv", "SawyerDoorVectorEnv"),
    "mher_pl/Reacher-v1": ("mher_pl.envs.reacher", "ReacherEnv", "ReacherVectorEnv"),
}
# Ids of other packages whose episodes have another length here than there.
EPISODE_STEPS_OF_OTHERS = {"FetchReach-v4": EPISODE_STEPS}
# Ids of other packages that have a quicker form here, equal to their own bit by bit.
FETCH_TASKS = tuple(
    f"Fetch{task}{reward}-v4" for task in ("Reach", "Push", "PickAndPlace", "Slide") for reward in ("", "Dense")
)

_slow_path_logged: set[str] = set()


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
    _take_steps(spec, kwargs)
    if spec.id in FETCH_TASKS:
        spec.kwargs["id"] = spec.id
        spec.entry_point = "mher_pl.envs.fetch:FetchEnv"
    if kwargs.get("render_mode") == "rgb_array":
        prefer_offscreen_gl()
    env = gymnasium.make(spec, **kwargs)
    _check_goal_spaces(spec.id, env)
    if has_batch(spec.id):
        return env
    return SuccessInfo(_with_unit_actions(spec.id, env))


def has_batch(id: str) -> bool:
    """Return whether `make_vec` has a batched form of the task, whose copies cost little."""
    return id.rpartition(":")[-1] in (*TASKS, *FETCH_TASKS)


def make_vec(id: str, num_envs: int = 1, processes: bool = False, **kwargs: Any) -> VectorEnv:
    """Make `num_envs` copies of a goal environment, without autoreset, by the fastest exact way there is for it.

    `infos["is_success"]` is an array [num_envs]. Where no batched form exists the copies are stepped one after another,
    and the log says so once; or with `processes`, each in a process of its own. There the infos hold nothing else.
    """
    if not _is_int(num_envs) or num_envs < 1:
        raise error.Error(f"num_envs is {num_envs!r}; allowed: an integer of at least 1")
    spec, single = _spec(id), partial(_make_copy, id, **kwargs)
    _take_steps(spec, kwargs)
    if spec.id in TASKS:
        kwargs.pop("disable_env_checker", None)  # Gymnasium checks single environments alone
        return gymnasium.make_vec(spec, num_envs=num_envs, vectorization_mode="vector_entry_point", **kwargs)
    if spec.id in FETCH_TASKS:
        from mher_pl.envs.fetch import FetchVectorEnv  # loads MuJoCo

        return FetchVectorEnv(spec.id, num_envs=num_envs, max_episode_steps=spec.max_episode_steps, **kwargs)
    if processes:
        return ProcessEnvs([single] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
    if num_envs > 1 and spec.id not in _slow_path_logged:
        _slow_path_logged.add(spec.id)
        log.warning("%s takes the slow path: it has no batched form, so its copies are stepped one by one", spec.id)
    return SyncVectorEnv([single] * num_envs, autoreset_mode=AutoresetMode.DISABLED)


class SuccessInfo(gymnasium.Wrapper):
    """Puts `is_success`, a number, into the info of environments that call it `success`, or tell it by the reward.

    An environment keeps its info, and whoever steps it the action: a dict or an array that one of them uses again is
    not changed by the other.
    """

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and tell success."""
        observation, reward, terminated, truncated, info = self.env.step(np.array(action))
        success = info.get("is_success", info.get("success"))
        if success is None:
            goals = observation["achieved_goal"][None]  # [1, goal]: some take batches alone
            at_goal = np.asarray(self.get_wrapper_attr("compute_reward")(goals, goals, {})).item()
            success = float(reward) > at_goal or np.isclose(float(reward), at_goal)
        success = np.float32(np.asarray(success).item())
        return observation, reward, terminated, truncated, info | {"is_success": success}


class SuccessAlone(gymnasium.Wrapper):
    """Leaves nothing but `is_success` in the info, for the infos of copies cannot always be joined."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        return self.env.reset(seed=seed, options=options or None)[0], {}  # none are left of a batch's `reset_mask`

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step."""
        *step, info = self.env.step(action)
        return *step, {"is_success": info["is_success"]}


def _make_copy(id: str, **kwargs: Any) -> gymnasium.Env:
    """Make an environment that stands beside others."""
    return SuccessAlone(make(id, **kwargs))


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


def _with_unit_actions(id: str, env: gymnasium.Env) -> gymnasium.Env:
    """Let the actions of every entry lie in [-1, 1]; where the task takes integers, the nearest one is taken."""
    space = env.action_space
    if not isinstance(space, spaces.Box):
        return env
    if not space.is_bounded():
        raise error.Error(f"{id} has actions without bounds, {space}; allowed: a wrapper that gives them bounds")
    floating = np.issubdtype(space.dtype, np.floating)
    if floating and np.all(space.low == -1.0) and np.all(space.high == 1.0):
        return env
    if floating and np.all(space.low < space.high):  # it divides by their difference
        return RescaleAction(env, space.dtype.type(-1.0), space.dtype.type(1.0))
    low, half = space.low.astype(float), (space.high.astype(float) - space.low) / 2

    def to_bounds(action: NDArray[np.floating]) -> NDArray[Any]:
        scaled = low + (np.clip(action, -1.0, 1.0) + 1.0) * half
        return np.clip(scaled if floating else np.rint(scaled), space.low, space.high).astype(space.dtype)

    return TransformAction(env, to_bounds, spaces.Box(-1.0, 1.0, space.shape, np.float32))


def _take_steps(spec: EnvSpec, kwargs: dict[str, Any]) -> None:
    """Move the episode length from the arguments into the specification; null is the task's own."""
    steps = kwargs.pop("max_episode_steps", None)
    if steps is None:
        steps = EPISODE_STEPS_OF_OTHERS.get(spec.id, spec.max_episode_steps)
    elif not _is_int(steps) or steps < 1:
        raise error.Error(f"max_episode_steps is {steps!r}; allowed: an integer of at least 1")
    spec.max_episode_steps = steps


def _is_int(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_goal_spaces(id: str, env: gymnasium.Env) -> None:
    space = env.observation_space
    is_goal_env = isinstance(space, spaces.Dict) and all(
        isinstance(space.spaces.get(key), spaces.Box) for key in GOAL_KEYS
    )
    if not is_goal_env or not env.has_wrapper_attr("compute_reward"):
        raise error.Error(
            f"{id} is not a goal environment: it needs compute_reward and Box spaces {', '.join(GOAL_KEYS)}"
        )
