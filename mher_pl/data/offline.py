"""Episodes that were collected before: the replay of a run, or a Minari data set."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from tensordict import TensorDict

from mher_pl.data.episode import VECTORS, not_finite, with_padding
from mher_pl.data.source import EpisodeSource
from mher_pl.envs.goal import GOAL_KEYS
from mher_pl.errors import UserError, reason_of
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file
from mher_pl.task import Task


class OfflineEpisodes(EpisodeSource):
    """All episodes from the first epoch on; the environment serves evaluation alone."""

    collects = False

    def open(self, task: Task, env_kwargs: dict[str, Any], *_: Any, **__: Any) -> None:
        """Remember the task; episodes are read when they are asked for, by a run that is not resumed."""
        self.task, self.env_kwargs = task, env_kwargs

    def all(self) -> TensorDict:
        """Read the episodes [N].

        Raises:
            UserError: they cannot be read, are none of the task's, or hold NaN or infinity.
        """
        episodes = self.read(self.task)
        if found := not_finite(episodes):
            key, number = found
            raise UserError(
                f"data.source is {self.name}, whose episode {number} has a {key} that is NaN or infinite; allowed: "
                "finite numbers"
            )
        return episodes

    @property
    @abstractmethod
    def name(self) -> str:
        """What is read, in words."""

    @abstractmethod
    def read(self, task: Task) -> TensorDict:
        """Return the episodes [N] as the replay stores them, and let the task see how they end."""

    def require(self, what: str, value: object, own: object) -> None:
        """Raise `UserError` if `what` of the episodes is another `value` than the task's `own`."""
        if value != own:
            raise UserError(
                f"data.source is {self.name}, whose {what} is {value!r}; allowed for {self.task.env}: {own!r}"
            )

    def worker_state(self) -> dict[str, Any]:
        """Return what the episodes told of the task."""
        return {"seen": self.task.seen}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.task.see(**state["seen"])


class StoredEpisodes(OfflineEpisodes):
    """The episodes in the replay of an earlier run.

    Args:
        path: the run's folder, whose last checkpoint it is, or a checkpoint.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """What is read, in words."""
        return f"the run {self.path}"

    def read(self, task: Task) -> TensorDict:
        """Return the episodes [N] of all workers."""
        setting = "data.source.path"
        checkpoint = read_checkpoint(checkpoint_file(self.path, setting), setting)
        saved = checkpoint["agent"]["task"]
        self.require("task", saved["env"], task.env)
        for size in ("observation_size", "action_size", "goal_size"):
            self.require(size, saved[size], getattr(task, size))
        data = checkpoint["GoalDataModule"]
        self.require("data.env_kwargs", data["env_kwargs"], self.env_kwargs)
        workers = data["workers"]
        for worker in workers:
            self.require("episodes' length", worker["replay"]["horizon"], task.horizon)
        replays = [TensorDict(worker["replay"]["episodes"]).auto_batch_size_(1) for worker in workers]
        replays = [replay.select(*VECTORS, "length", "failed") for replay in replays]
        for worker in workers:
            task.see(**worker["parts"]["source"]["state"].get("seen", {}))
        return torch.cat(replays)


class MinariEpisodes(OfflineEpisodes):
    """The episodes of a Minari data set on this machine, of a goal environment with vectors.

    Args:
        dataset: its id, as in `minari list local`.
    """

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset

    @property
    def name(self) -> str:
        """What is read, in words."""
        return f"the Minari data set {self.dataset}"

    def read(self, task: Task) -> TensorDict:
        """Return the episodes [N]."""
        data = self.load()
        self.require_goals(data, task)
        episodes = []
        for number, recorded in enumerate(data.iterate_episodes()):
            steps = len(recorded.actions)
            if not 1 <= steps <= task.horizon:
                raise UserError(
                    f"data.source is {self.name}, whose episode {number} has {steps} steps; allowed for {task.env}: "
                    f"1 to {task.horizon}, max_episode_steps in data.env_kwargs"
                )
            observations = {key: as_float(recorded.observations[key]) for key in GOAL_KEYS}
            achieved, desired = observations["achieved_goal"], observations["desired_goal"]
            task.check_desired_goals(observations["observation"][:-1], desired[:-1], number)
            at_goal = task.reward(achieved[1:], desired[:-1]) == 0.0  # [T]
            terminated = bool(recorded.terminations[-1])
            task.see(terminated and bool(at_goal[-1]), bool(at_goal[:-1].any()))
            action = as_float(unit_actions(recorded.actions, data.action_space))
            taken = TensorDict(observations | {"desired_goal": desired[:-1], "action": action})  # goals acted for
            episodes.append(with_padding(taken, task.horizon, failed=terminated and not at_goal[-1]))
        if not episodes:
            raise UserError(f"data.source is {self.name}, which is empty; allowed: one with episodes")
        return torch.stack(episodes)

    def load(self) -> Any:
        """Open the data set."""
        try:
            import minari
        except ImportError as error:
            raise UserError(
                f"data.source is {self.name}, but Minari is not installed; allowed: after pip install '.[minari]'"
            ) from error
        try:
            return minari.load_dataset(self.dataset)
        except Exception as error:  # a missing one, a malformed id, or a damaged file
            allowed = f"one of `minari list local` ({reason_of(error)})"
            raise UserError(f"data.source.dataset is {self.dataset!r}; allowed: {allowed}") from error

    def require_goals(self, data: Any, task: Task) -> None:
        """Raise `UserError` if the data set has no goals, or vectors of other sizes than the task's."""
        space = data.observation_space
        entries = space.spaces if isinstance(space, spaces.Dict) else {}
        missing = [key for key in GOAL_KEYS if key not in entries]
        if missing:
            raise UserError(
                f"data.source is {self.name}, whose observations have no {', '.join(missing)}; allowed: those of a "
                f"goal environment, with {', '.join(GOAL_KEYS)}"
            )
        sizes = (task.observation_size, task.goal_size, task.goal_size)
        for key, size in zip(GOAL_KEYS, sizes, strict=True):
            self.require(key, entries[key].shape, (size,))
        self.require("action", data.action_space.shape, (task.action_size,))


def as_float(values: NDArray[Any]) -> torch.Tensor:
    """Return recorded numbers as float32, as the replay holds them."""
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)


def unit_actions(actions: NDArray[Any], space: spaces.Space) -> NDArray[Any]:
    """Bring recorded actions [T, action] from their space's bounds to [-1, 1], in which policies act."""
    if not isinstance(space, spaces.Box) or not space.is_bounded():
        raise UserError(f"data.source has {space} as action space; allowed: a Box with bounds")
    low, high = space.low.astype(float), space.high.astype(float)
    width = np.where(high > low, high - low, 1.0)  # an entry that may have one value alone is -1
    return np.clip(2.0 * (actions - low) / width - 1.0, -1.0, 1.0)
