"""An episode of the policy as it is seen."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.data.episode import VECTORS, with_padding
from mher_pl.envs import make
from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.errors import EnvironmentFailed, UserError


@dataclass(frozen=True)
class Watched:
    """An episode of T steps as it was seen."""

    frames: list[np.ndarray]  # [T], each [height, width, 3]
    episode: TensorDict  # as the replay stores it
    is_success: bool


def as_tensors(observation: dict[str, Any]) -> dict[str, Tensor]:
    """Return copies of the goal vectors: some environments reuse their arrays."""
    return {key: torch.from_numpy(np.array(observation[key], dtype=np.float32)) for key in GOAL_KEYS}


def write_video(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Write frames [height, width, 3] to an mp4, one after the other: an episode may be long, and a frame is large."""
    video: Any = imageio.get_writer(path, fps=fps, macro_block_size=2)
    with video:
        for frame in frames:
            video.append_data(frame)


def require_picture(frame: Any) -> None:
    """Raise `ValueError` unless a frame is a picture, [height, width, 3 or 4] of bytes."""
    picture = np.asarray(frame)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise ValueError(f"render gives {type(frame).__name__} {list(picture.shape)} of {picture.dtype}")


@torch.no_grad()
def watch(agent: Agent, env_kwargs: dict[str, Any], seed: int, steps: int) -> Watched:
    """Run an episode, or its first steps, without exploration.

    Raises:
        UserError: the environment cannot be drawn on this machine.
        EnvironmentFailed: it raised an error on the way.
    """
    task = agent.task
    stack = ExitStack()
    try:
        env = stack.enter_context(closing(make(task.env, render_mode="rgb_array", **env_kwargs)))
        observation, _ = env.reset(seed=seed)
        require_picture(env.render())
    except Exception as error:
        stack.close()
        raise UserError(
            f"{task.env} cannot be drawn here ({type(error).__name__}: {error}); allowed: an environment that "
            "renders rgb_array, on a machine that can draw without a screen, such as by libegl1 and MUJOCO_GL=egl"
        ) from error
    frames: list[np.ndarray] = []
    states: list[dict[str, Tensor]] = []
    ended = terminated = False
    with stack:
        while not ended and len(frames) < steps:
            frames.append(np.array(env.render())[..., :3])  # without how opaque it is
            state = as_tensors(observation)
            action = agent.act(state["observation"], state["desired_goal"])
            states.append(state | {"action": action})
            try:
                observation, _, terminated, truncated, info = env.step(action.numpy())
            except Exception as error:
                raise EnvironmentFailed(f"step {len(frames) - 1} of an episode that is shown", error) from error
            ended = terminated or truncated
    states.append(as_tensors(observation))
    success = bool(info["is_success"])

    vectors = {key: torch.stack([state[key] for state in states if key in state]) for key in VECTORS}
    vectors["desired_goal"] = vectors["desired_goal"][:-1]  # the goals that were acted for
    episode = with_padding(TensorDict(vectors), task.horizon, failed=terminated and not success)
    return Watched(frames, episode, success)
