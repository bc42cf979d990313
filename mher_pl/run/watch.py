"""The `watch` command: a policy's episodes, beside the goals that they would be relabelled with and their values."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.callbacks.episode_figure import EpisodeFigure
from mher_pl.data import GoalDataModule
from mher_pl.data.replay import EpisodeReplay
from mher_pl.envs import make
from mher_pl.envs.draw import Window
from mher_pl.errors import OneLineParser, UserError, require_int
from mher_pl.run.api import load
from mher_pl.run.check import HERE
from mher_pl.run.messages import quiet
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file, config_of


@dataclass(frozen=True)
class Watched:
    """An episode of T steps as it was seen."""

    frames: list[np.ndarray]  # [T], each [height, width, 3]
    episode: TensorDict  # as the replay stores it
    is_success: bool


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = OneLineParser(
        "python -m mher_pl watch",
        description="Show episodes of a run's policy, beside the goals that its method would relabel them with "
        "and the critic's values.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, RUN/best, or a checkpoint in it")
    parser.add_argument("--video", type=Path, metavar="FILE", help="write an mp4 in place of opening a window")
    parser.add_argument("--episodes", type=int, default=3, help="episodes, one after the other (3)")
    parser.add_argument("--fps", type=int, default=25, help="environment steps a second (25)")
    options = parser.parse_args(argv)
    require_int("--episodes", options.episodes, 1)
    require_int("--fps", options.fps, 1)
    if options.video is None and not Window.possible():
        raise UserError("there is no screen to open a window on, or no toolkit such as tkinter; allowed: --video FILE")
    quiet()
    agent, data = load_run(options.run)
    pictures = show(agent, data, options.episodes)
    if options.video is None:
        window = Window(str(options.run), options.fps)
        for picture in pictures:
            if not window.show(picture):  # the user has closed it
                break
        window.close()
        return 0
    try:
        options.video.parent.mkdir(parents=True, exist_ok=True)
        imageio.imwrite(options.video, np.stack(list(pictures)), fps=options.fps, macro_block_size=2)
    except (OSError, ValueError) as error:  # ValueError: a name without a known ending
        raise UserError(f"--video is {str(options.video)!r} ({error}); allowed: an mp4 that can be written") from error
    print(f"video {options.video}")
    return 0


def load_run(path: str) -> tuple[Agent, GoalDataModule]:
    """Build the agent and the data module of a run, with the agent's weights from the checkpoint that `path` names."""
    checkpoint = checkpoint_file(path)
    with tempfile.TemporaryDirectory() as folder:  # in place of a new run's
        settings = {"trainer.default_root_dir": folder, "trainer.logger": False, "trainer.callbacks": None}
        settings |= dict(setting.removeprefix("--").split("=") for setting in HERE)
        model, data, _ = load(config_of(checkpoint), **settings)
    saved = read_checkpoint(checkpoint)
    model.require_own(saved)
    model.load_state_dict(saved["state_dict"])
    return model.eval(), data


def show(agent: Agent, data: GoalDataModule, episodes: int) -> Iterator[np.ndarray]:
    """Yield a picture [height, width, 3] a step: the environment, and what the method makes of the episode."""
    for number in range(episodes):
        watched = watch(agent, data, seed=number)
        replay = EpisodeReplay(data.task.horizon, data.task.horizon, data.sampler, seed=0)
        replay.add(watched.episode)
        batch = replay.last_episode(torch.Generator().manual_seed(number))
        goals = None
        if agent.relabel is not None:
            relabelled = agent.relabel(batch, agent, torch.Generator().manual_seed(number))
            goals = torch.where(relabelled["relabelled"].unsqueeze(-1), relabelled["imitation_goal"], torch.nan)
        values = agent.value(batch["observation"], batch["desired_goal"], batch["action"])
        title = f"episode {number + 1}: " + ("reaches its goal" if watched.is_success else "does not end at its goal")
        figure = EpisodeFigure(title, batch["next", "achieved_goal"], batch["desired_goal"], goals, values)
        for step, frame in enumerate(watched.frames):
            yield side_by_side(frame, figure.draw(step))


@torch.no_grad()
def watch(agent: Agent, data: GoalDataModule, seed: int) -> Watched:
    """Run an episode without exploration.

    Raises:
        UserError: the environment cannot be drawn on this machine.
    """
    task = data.task
    try:
        env = make(task.env, render_mode="rgb_array", **data.env_kwargs)
        observation, _ = env.reset(seed=seed)
        env.render()
    except Exception as error:
        raise UserError(
            f"{task.env} cannot be drawn here ({type(error).__name__}: {error}); allowed: a machine with headless "
            "rendering, for example the system package libegl1 and the variable MUJOCO_GL=egl"
        ) from error
    frames: list[np.ndarray] = []
    steps: list[dict[str, Tensor]] = []
    ended = terminated = False
    while not ended and len(frames) < task.horizon:
        frames.append(np.asarray(env.render()))
        state = {key: torch.as_tensor(value, dtype=torch.float32) for key, value in observation.items()}
        action = agent.act(state["observation"], state["desired_goal"])
        steps.append(state | {"action": action})
        observation, _, terminated, truncated, info = env.step(action.numpy())
        ended = terminated or truncated
    env.close()
    steps.append({key: torch.as_tensor(value, dtype=torch.float32) for key, value in observation.items()})
    success = bool(info["is_success"])

    def padded(key: str, length: int) -> Tensor:
        values = torch.stack([step[key] for step in steps if key in step][:length])
        return torch.cat([values, values[-1:].expand(length - len(values), -1)])

    episode = TensorDict(
        {
            "observation": padded("observation", task.horizon + 1),
            "achieved_goal": padded("achieved_goal", task.horizon + 1),
            "desired_goal": padded("desired_goal", task.horizon),
            "action": padded("action", task.horizon),
            "length": torch.tensor(len(frames)),
            "failed": torch.tensor(terminated and not success),
        }
    )
    return Watched(frames, episode, success)


def side_by_side(*pictures: np.ndarray) -> np.ndarray:
    """Join pictures [height, width, 3] of different heights, with white below the lower ones."""
    height = max(len(picture) for picture in pictures)
    return np.hstack(
        [np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=255) for picture in pictures]
    )
