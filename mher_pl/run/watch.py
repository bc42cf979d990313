"""The `watch` command: a policy's episodes, beside the goals that they would be relabelled with and their values."""

import os
import tempfile
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from mher_pl.agent import Agent
from mher_pl.callbacks.episode_figure import EpisodeFigure
from mher_pl.callbacks.watched import watch, write_video
from mher_pl.data import GoalDataModule
from mher_pl.data.replay import EpisodeReplay
from mher_pl.envs.draw import Window
from mher_pl.errors import OneLineParser, UserError, require, require_int
from mher_pl.run.api import load
from mher_pl.run.check import HERE
from mher_pl.run.messages import quiet
from mher_pl.sampler import Uniform
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file, config_of, local_path, require_writable


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = OneLineParser(
        "python -m mher_pl watch",
        description="Show episodes of a run's policy, beside the goals that its method would relabel them with "
        "and the critic's values.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, RUN/best, or a checkpoint in it")
    parser.add_argument(
        "--video",
        type=partial(local_path, setting="--video"),
        metavar="FILE",
        help="write an mp4 in place of opening a window",
    )
    parser.add_argument("--episodes", type=int, default=3, help="episodes, one after the other (3)")
    parser.add_argument("--fps", type=int, default=25, help="environment steps a second (25)")
    options = parser.parse_args(argv)
    require_int("--episodes", options.episodes, 1)
    require_int("--fps", options.fps, 1)
    if options.video is None and not Window.possible():
        raise UserError("there is no screen to open a window on, or no toolkit such as tkinter; allowed: --video FILE")
    if options.video is not None:
        named = options.video.suffix.lower() == ".mp4" and not os.path.isdir(options.video)
        require(named, "--video", str(options.video), "a file's name that ends in .mp4")
        checkpoint_file(options.run)  # before a folder is made for it
        require_writable(options.video.parent, "--video's folder")
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
        write_video(options.video, pictures, options.fps)
    except OSError as error:
        raise UserError(f"--video is {str(options.video)!r} ({error}); allowed: an mp4 that can be written") from error
    print(f"video {options.video}")
    return 0


def load_run(path: str) -> tuple[Agent, GoalDataModule]:
    """Build the agent and the data module of a run, with the agent's weights from the checkpoint that `path` names."""
    checkpoint = checkpoint_file(path)
    with tempfile.TemporaryDirectory() as folder:  # in place of a new run's
        settings = {"trainer.default_root_dir": folder, "trainer.logger": False, "trainer.callbacks": None}
        model, data, _ = load(config_of(checkpoint), **settings | HERE)
    saved = read_checkpoint(checkpoint)
    model.require_own(saved)
    model.load_state_dict(saved["state_dict"])
    return model.eval(), data


def show(agent: Agent, data: GoalDataModule, episodes: int) -> Iterator[np.ndarray]:
    """Yield a picture [height, width, 3] a step: the environment, and what the method makes of the episode."""
    for number in range(episodes):
        watched = watch(agent, data.env_kwargs, number, data.task.horizon)
        replay = EpisodeReplay(data.task.horizon, data.task.horizon, Uniform(), seed=0)  # of this episode alone
        replay.add(watched.episode)
        batch = replay.last_episode(torch.Generator().manual_seed(number))
        goals = None
        if agent.relabel is not None:
            batch["step"] = torch.arange(len(batch))  # relabellers may take a part of the rows, in their order
            relabelled = agent.relabel(batch, agent, torch.Generator().manual_seed(number))
            relabelled = relabelled[relabelled["relabelled"]]
            goals = torch.full_like(batch["desired_goal"], torch.nan)
            goals[relabelled["step"]] = relabelled["imitation_goal"]
        values = agent.value(batch["observation"], batch["desired_goal"], batch["action"])
        title = f"episode {number + 1}: " + ("reaches its goal" if watched.is_success else "does not end at its goal")
        figure = EpisodeFigure(title, batch["next", "achieved_goal"], batch["desired_goal"], goals, values)
        for step, frame in enumerate(watched.frames):
            yield side_by_side(frame, figure.draw(step))


def side_by_side(*pictures: np.ndarray) -> np.ndarray:
    """Join pictures [height, width, 3] of different heights, with white below the lower ones."""
    height = max(len(picture) for picture in pictures)
    return np.hstack(
        [np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=255) for picture in pictures]
    )
