"""Video of the policy."""

from pathlib import Path

from lightning import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from mher_pl.agent import Agent
from mher_pl.callbacks.watched import watch, write_video
from mher_pl.data import data_of
from mher_pl.errors import require_int
from mher_pl.storage.folder import CONFIG, local_path, require_writable


class Video(Callback):
    """Write an mp4 of the deterministic policy at the end of `fit` and in `test`.

    Args:
        episodes: episodes shown one after the other.
        fps: frames a second; one frame is one environment step.
        folder: where `video.mp4` goes; null is the folder of the run that is trained or tested, or where a checkpoint
            lies that is in none.

    Raises:
        UserError: the environment cannot be rendered on this machine.
    """

    def __init__(self, episodes: int = 3, fps: int = 25, folder: str | None = None) -> None:
        require_int("video.episodes", episodes, 1)
        require_int("video.fps", fps, 1)
        self.episodes, self.fps, self.folder = episodes, fps, folder

    def on_fit_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Draw a frame and make the folder, to fail before the work rather than behind it.

        Raises:
            UserError: the environment cannot be drawn here, or the folder not be written.
        """
        if trainer.is_global_zero:
            watch(pl_module, data_of(trainer).env_kwargs, seed=0, steps=1)
            if not trainer.fast_dev_run:  # type: ignore[attr-defined]
                require_writable(self._place(trainer), "video.folder")

    def on_test_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Draw a frame and make the folder, as before `fit`."""
        self.on_fit_start(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Record."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = self._place(trainer) / "video.mp4"
        env_kwargs, horizon = data_of(trainer).env_kwargs, pl_module.task.horizon
        episodes = (watch(pl_module, env_kwargs, seed, horizon) for seed in range(self.episodes))
        write_video(path, (frame for episode in episodes for frame in episode.frames), self.fps)
        print(f"video {path}")

    def _place(self, trainer: Trainer) -> Path:
        """Return the folder to write to: the run's of a tested checkpoint, or beside one that lies in none."""
        if self.folder is not None:
            return local_path(self.folder, "video.folder")
        if trainer.state.fn != TrainerFn.TESTING or trainer.ckpt_path is None:
            return Path(trainer.default_root_dir)
        beside = Path(trainer.ckpt_path).parent
        return beside.parent if (beside.parent / CONFIG).is_file() else beside

    def on_train_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Record."""
        self.on_test_end(trainer, pl_module)
