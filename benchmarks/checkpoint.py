"""Size and time of saving and loading a checkpoint, by the number of transitions in the replay.

    python benchmarks/checkpoint.py [--config configs/fetch.yaml] [--out benchmarks/results/checkpoint.json]

A run of MHER with the paper's networks is set up, its replay is filled with made-up episodes, and
`Trainer.save_checkpoint` and the reading of that file are timed. The floor beside them writes as many bytes to the same
folder and forces them to the disk.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from output import Report

from mher_pl.data import GoalDataModule
from mher_pl.data.replay import EpisodeReplay
from mher_pl.policy import load_policy
from mher_pl.run.api import load
from mher_pl.storage.writer import PlainCheckpointIO

ROOT = Path(__file__).parents[1]
TRANSITIONS = (2_000, 10_000, 100_000, 1_000_000)
REPEATS = 5


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default=str(ROOT / "configs" / "fetch.yaml"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "checkpoint.json")
    options = parser.parse_args()
    report = Report(options.out)
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        rows = [measure(options.config, Path(folder), transitions) for transitions in TRANSITIONS]
    report.values["rows"] = rows
    caption = f"`Trainer.save_checkpoint` and the reading of its file, MHER on `{Path(options.config).name}`"
    names = {f"{row['transitions']:,}": {key: row[key] for key in list(row)[1:]} for row in rows}
    report.table(f"{caption}; medians of {REPEATS}, in seconds.", "transitions", names)
    report.write()


def measure(config: str, folder: Path, transitions: int) -> dict[str, float]:
    """Save and load with a replay that holds `transitions`."""
    cli = load(
        config,
        **{
            "trainer.default_root_dir": folder,
            "trainer.max_epochs": 1,
            "trainer.enable_progress_bar": False,
            "trainer.enable_checkpointing": False,
            "trainer.logger": False,
            "warmup.episodes": 0,
            "data.episodes_per_epoch": 1,
            "evaluation.episodes": 1,
        },
    )
    trainer, data = cli.trainer, cli.datamodule
    trainer.fit(cli.model, data)  # Adam's moments exist from the first step on
    fill(data, transitions)
    path = folder / "x.ckpt"
    save = repeat(lambda: trainer.save_checkpoint(path))
    size = path.stat().st_size
    content = os.urandom(size)
    return {
        "transitions": len(data.replay) * data.task.horizon,
        "megabytes": round(size / 1e6, 2),
        "save_s": round(save, 4),
        "floor_write_s": round(repeat(lambda: write(folder / "floor", content)), 4),
        "load_s": round(repeat(lambda: load_replay(path, data)), 4),
        "load_policy_s": round(repeat(lambda: load_policy(path)), 4),
    }


def load_replay(path: Path, data: GoalDataModule) -> None:
    """Read a checkpoint and take its replay over, as a resumed run does."""
    checkpoint = PlainCheckpointIO().load_checkpoint(path)
    replay = EpisodeReplay(data.capacity, data.task.horizon, data.sampler, data.seed)
    replay.load_state_dict(checkpoint["GoalDataModule"]["workers"][0]["replay"])


def fill(data: GoalDataModule, transitions: int) -> None:
    """Fill the replay with random episodes, each as long as the one that is there."""
    example = data.replay.episodes[0].clone()
    for _ in range(transitions // data.task.horizon - len(data.replay)):
        data.replay.add(example.apply(lambda value: torch.randn_like(value) if value.is_floating_point() else value))


def write(path: Path, content: bytes) -> None:
    """Write bytes and force them to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def repeat(function: Callable[[], None]) -> float:
    """Return the median seconds of a call."""
    seconds = []
    for _ in range(REPEATS):
        start = perf_counter()
        function()
        seconds.append(perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
