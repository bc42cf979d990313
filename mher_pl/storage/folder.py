"""Folders of runs: `<root>/<task>/<algorithm>/seed_<seed>`."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mher_pl.errors import UserError, require, shown
from mher_pl.storage.configs import read_config
from mher_pl.storage.settings import flatten

CONFIG, LOCK = "config.yaml", ".lock"
LAST, BEST = Path("checkpoints") / "last.ckpt", Path("checkpoints") / "best.ckpt"


@dataclass(frozen=True)
class RunFolders:
    """Where the runs of one task, algorithm and seed lie: `seed_0`, then `seed_0-2`, `seed_0-3`, ..."""

    root: Path
    env: str  # Gymnasium id
    algorithm: str
    seed: int

    @property
    def parent(self) -> Path:
        """The folder of all seeds."""
        return self.root / re.split("[/:]", self.env)[-1] / self.algorithm

    def folder(self, number: int) -> Path:
        """Return the folder of the `number`-th run, from 1."""
        return self.parent / (f"seed_{self.seed}" if number == 1 else f"seed_{self.seed}-{number}")

    def newest(self) -> int:
        """Return the number of the newest run, 0 if there is none."""
        if not os.path.isdir(self.parent):  # `glob` fails with names that are too long
            return 0
        names = (re.fullmatch(rf"seed_{self.seed}(?:-(\d+))?", path.name) for path in self.parent.glob("seed_*"))
        return max((int(name[1] or 1) for name in names if name), default=0)

    def claim(self) -> Path:
        """Create and return the folder of a new run; earlier runs are never overwritten, nor shared by two programs.

        Raises:
            UserError: it cannot be created.
        """
        number = self.newest()
        while True:
            number += 1
            folder = self.folder(number)
            try:
                folder.mkdir(parents=True)
            except OSError as error:
                if isinstance(error, FileExistsError) and os.path.lexists(folder):  # another program was quicker
                    continue
                raise UserError(  # also where a folder around it is a link to nowhere, which "exists"
                    f"trainer.default_root_dir is {shown(str(self.root))} ({error.strerror}); allowed: a folder that "
                    "can be written"
                ) from error
            return folder

    def latest(self) -> tuple[Path | None, Path | None]:
        """Return the folder of the newest run and its last checkpoint, None where there is no such thing yet.

        Raises:
            UserError: an earlier run has a checkpoint and the newest none, so it is not clear which one is meant.
        """
        folders = [self.folder(number) for number in range(self.newest(), 0, -1)]
        began = [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]  # not built alone
        saved = [folder for folder in folders if (folder / LAST).is_file()]
        if saved and saved[0] != began[0]:
            raise UserError(
                f"ckpt_path is 'last', but {began[0].name} ended before its first checkpoint; allowed: {saved[0]}, "
                f"or last once {began[0].name} is removed"
            )
        if saved:
            return saved[0], saved[0] / LAST
        return (folders[0] if folders else None), None

    def owner(self, checkpoint: Path) -> Path | None:
        """Return the run's folder if `checkpoint` is the last one of a run of this task, algorithm and seed."""
        folder = checkpoint.resolve().parent.parent
        try:
            config = read_config("config", folder / CONFIG)
            same = (config["data"]["env"], config["algorithm"], config["seed_everything"])
        except (UserError, TypeError, KeyError):
            return None
        is_last = checkpoint.resolve() == folder / LAST
        return folder if is_last and same == (self.env, self.algorithm, self.seed) else None


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process, until the block or the process ends.

    Raises:
        UserError: another process trains the run.
    """
    try:
        descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR)  # of folders NFS keeps no locks between machines
    except OSError:
        descriptor = os.open(folder, os.O_RDONLY)  # a folder that may not be written: what would write says so
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"ckpt_path names the run in {folder}, which another process trains; allowed: a run that has ended, "
                "or a copy of its folder where a network file system keeps the lock of a process that is gone"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def last_written(folder: Path) -> int | None:
    """Return when a run's last checkpoint was written, a Unix time in nanoseconds; None where there is none."""
    try:
        return os.stat(folder / LAST).st_mtime_ns
    except OSError:
        return None


def changed_settings(folder: Path, settings: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Return those of `settings` that the config in a run's folder has otherwise, each with its value there."""
    try:
        saved = dict(flatten(read_config("config", folder / CONFIG)))
    except UserError:
        return {}
    return {key: (value, saved[key]) for key, value in settings.items() if saved.get(key, value) != value}


def local_path(path: str | Path, setting: str) -> Path:
    """Return the path that `setting` names, with `~` for the home folder as in a shell.

    Raises:
        UserError: it is a URL.
    """
    require("://" not in str(path), setting, str(path), "a path of this machine's file system")
    return Path(os.path.expanduser(path))


def checkpoint_file(path: str | Path, setting: str = "ckpt_path", others: str = "") -> Path:
    """Return the checkpoint that `path` names: a file, or a run's folder `RUN`, for its last, `RUN/last` or `RUN/best`.

    Args:
        path: of the checkpoint.
        setting: that names it, for messages.
        others: what else the setting may name, for messages.

    Raises:
        UserError: there is none.
    """
    named = local_path(path, setting)
    file = named
    if os.path.isdir(named):  # `Path.is_dir` fails with names that are too long
        file = named / LAST
    elif named.name == "last":
        file = named.parent / LAST
    elif named.name == "best":
        file = named.parent / BEST
    if not os.path.isfile(file):
        depths = (f"{'*/' * depth}{LAST}" for depth in (1, 2, 3)) if os.path.isdir(named) else ()
        within = [run for depth in depths for run in sorted(named.glob(depth))][:1]
        found = f"a folder without {LAST}" if os.path.isdir(named) else "which does not exist"
        raise UserError(
            f"{setting} is {str(path)!r}, {found}; allowed: a checkpoint, or a run's folder RUN, RUN/best or RUN/last"
            + "".join(f", such as {run.parent.parent}" for run in within)
            + (others and f", or {others}")
        )
    return file


def config_of(checkpoint: Path) -> Path:
    """Return the config of the run that a checkpoint belongs to.

    Raises:
        UserError: it lies in no run's folder.
    """
    config = checkpoint.resolve().parent.parent / CONFIG
    if not config.is_file():
        raise UserError(
            f"RUN is {str(checkpoint)!r}, beside which there is no {CONFIG}; allowed: what lies in a run's folder, or "
            "--config with --ckpt_path"
        )
    return config


def remove_empty(folders: list[Path]) -> None:
    """Remove those of `folders`, the innermost first, in which nothing is."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def require_writable(path: str | Path, setting: str) -> Path:
    """Create a folder that `setting` names and return it.

    Raises:
        UserError: it cannot be created or written.
    """
    folder = local_path(path, setting)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise UserError(f"{setting} is {str(folder)!r}; allowed: a folder that can be written")
    return folder
