"""Small runs of the whole program for tests, in this process or in one of their own, and how to compare them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from threadpoolctl import threadpool_info

from mher_pl.__main__ import main
from mher_pl.storage.metrics import read_metrics

ROOT = Path(__file__).parents[1]
SMALL = [
    "--model.init_args.hidden_sizes=[16,16]",
    "--warmup.episodes=2",
    "--warmup.updates=5",
    "--evaluation.episodes=4",
    "--relabel_goals.every_n_epochs=0",
    "--data.batch_size=16",
]
started: list[subprocess.Popen] = []  # by the test that runs; killed at its end
SMALL_DYNAMICS = ["--model.init_args.dynamics.init_args.hidden_sizes=[16,16]"]


def arguments(root: Path, *extra: str, config: str = "point2d", epochs: int = 4) -> list[str]:
    """The command line of a small `fit` under `root`."""
    options = [f"--trainer.default_root_dir={root}", f"--trainer.max_epochs={epochs}"]
    return ["fit", "--config", str(ROOT / "configs" / f"{config}.yaml"), *SMALL, *SMALL_DYNAMICS, *options, *extra]


def fit(root: Path, *extra: str, **kwargs) -> int:
    """Run a small `fit` in this process and return its exit code."""
    return main(arguments(root, *extra, **kwargs))


def start(root: Path, *extra: str, **kwargs) -> subprocess.Popen:
    """Start a small `fit` in a process of its own."""
    return start_command(*arguments(root, *extra, **kwargs))


def start_command(*args: str, env: dict[str, str] | None = None) -> subprocess.Popen:
    """Start `python -m mher_pl` with `args`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | (env or {})
    process = subprocess.Popen(
        [sys.executable, "-m", "mher_pl", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    started.append(process)
    return process


def run_process(root: Path, *extra: str, code: int = 0, **kwargs) -> tuple[str, str]:
    """Run a small `fit` in a process of its own, with its exit code checked, and return what it printed."""
    process = start(root, *extra, **kwargs)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code, output + errors
    return output, errors


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until a process has written a file or folder."""
    until = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, path
        time.sleep(0.05)


def run_folder(root: Path, seed: int = 0, config: str = "Point2DLarge-v1", name: str | None = None) -> Path:
    """The folder of a run under `root`."""
    return root / config / "mher" / (name or f"seed_{seed}")


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """All scalars of a run by tag and step, later event files overriding earlier ones; no times."""
    points = {}
    for path in sorted(folder.glob("events*"), key=lambda path: path.name.split(".")[3:]):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if not tag.startswith("time/"):
                points |= {(tag, event.step): event.value for event in events.Scalars(tag)}
    return points


def state(folder: Path, name: str = "last.ckpt") -> dict[str, object]:
    """Everything in a checkpoint by path, except the wall-clock time."""
    checkpoint = torch.load(folder / "checkpoints" / name, weights_only=True)
    checkpoint["callbacks"].pop("Timing")
    return dict(_flatten(checkpoint))


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that checkpoints and scalars of two runs are equal bit for bit, and so are their tables."""
    a, b = state(one), state(other)
    assert a.keys() == b.keys()
    assert [key for key in a if not _equal(a[key], b[key])] == []
    assert scalars(one) == scalars(other)
    assert len(scalars(one)) > 20
    assert table(one) == table(other)


def table(folder: Path) -> list[tuple[int, int, str, float]]:
    """The lines of a run's metrics; no times."""
    lines = [(line.epoch, line.env_steps, line.metric, line.value) for line in read_metrics(folder)]
    return [line for line in lines if not line[2].startswith("time/")]


def _flatten(value: object, path: str = ""):
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in items:
            yield from _flatten(entry, f"{path}/{key}")
    else:
        yield path, value


def _equal(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


class SignalAt(Callback):
    """Sends a signal to its own process once a given episode is collected, or in the evaluation, of a given epoch."""

    def __init__(self, epoch: int, episode: int | None = None, signum: int = int(signal.SIGTERM)) -> None:
        self.epoch, self.episode, self.signum = epoch, episode, signum

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.episode):
            os.kill(os.getpid(), self.signum)

    def on_validation_start(self, trainer, pl_module) -> None:
        if self.episode is None and trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), self.signum)


class FailAt(Callback):
    """Fails in a given epoch of one seed."""

    def __init__(self, seed: int, epoch: int) -> None:
        self.seed, self.epoch = seed, epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.datamodule.seed == self.seed and trainer.current_epoch == self.epoch:
            with torch.no_grad():
                next(pl_module.actor.parameters()).fill_(float("nan"))


class DumpWorker(Callback):
    """Writes what a worker holds at the end of `fit` beside the runs."""

    def on_fit_start(self, trainer, pl_module) -> None:
        self.initial = torch.cat([parameter.detach().flatten() for parameter in pl_module.parameters()])

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.means = {key: torch.stack(values).mean().item() for key, values in pl_module.tracked.items()}

    def on_train_end(self, trainer, pl_module) -> None:
        moments = [state["exp_avg"].flatten() for optimizer in trainer.optimizers for state in optimizer.state.values()]
        content = {
            "weights": pl_module.state_dict(),
            "optimizers": torch.cat(moments),
            "episodes": trainer.datamodule.replay.episodes["observation"].clone(),
            "initial": self.initial,
            "means": self.means,  # of the last epoch
        }
        root = Path(trainer.strategy.broadcast(trainer.default_root_dir)).parents[2]
        torch.save(content, root / f"worker_{trainer.global_rank}.pt")


class NoteThreads(Callback):
    """Writes beside the runs how many threads torch and all libraries in the process have at the end of `fit`."""

    def on_train_end(self, trainer, pl_module) -> None:
        limits = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
        numbers = [torch.get_num_threads(), int(os.environ["OMP_NUM_THREADS"]), *limits]
        root = Path(trainer.strategy.broadcast(trainer.default_root_dir)).parents[2]
        (root / f"threads_{trainer.datamodule.seed}_{trainer.global_rank}.txt").write_text(str(numbers))


def noted_threads(root: Path) -> list[str]:
    """What the processes of the runs under `root` noted of their threads."""
    return [path.read_text() for path in sorted(root.glob("threads_*.txt"))]
