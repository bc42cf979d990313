"""The table of a run's metrics, `metrics.csv`, with a line for each metric of each epoch."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import NamedTuple

from mher_pl.errors import UserError

METRICS_FILE = "metrics.csv"
ENDED = "ended"  # the last line's metric where a run ended by itself


class Metric(NamedTuple):
    """A line of the table."""

    epoch: int  # from 1: after the first epoch
    env_steps: int  # environment steps of training so far
    unix_time: float
    metric: str
    value: float


class MetricsTable:
    """Adds lines to the table in a run's folder.

    Args:
        folder: the run's.
        env_steps: of the checkpoint that the run goes on from; lines from after it, which will be written anew, are
            dropped. -1 where there is no checkpoint.
    """

    def __init__(self, folder: Path, env_steps: int) -> None:
        self.path, self.env_steps = folder / METRICS_FILE, env_steps
        self._begun = False

    def add(self, epoch: int, env_steps: int, metrics: Mapping[str, float]) -> None:
        """Add the metrics of an epoch, or some of them.

        Raises:
            UserError: they cannot be written.
        """
        now = time()
        lines = [Metric(epoch, env_steps, now, name, value) for name, value in metrics.items()]
        try:
            self.begin()
            _write(self.path, "a", lines)
        except OSError as error:
            raise UserError(
                f"the metrics {self.path} could not be written ({error.strerror}); allowed: a folder that can be "
                "written, with room"
            ) from error

    def sync(self) -> None:
        """Force what was added to the disk."""
        if self._begun:
            _sync(self.path)

    def begin(self) -> None:
        """Begin the table, or drop what a run that goes on wrote after its checkpoint, and that it had ended."""
        if self._begun:
            return
        lines = read_metrics(self.path.parent)
        kept = [line for line in lines if line.env_steps <= self.env_steps and line.metric != ENDED]
        staged = self.path.with_name(f".{METRICS_FILE}.part")
        _write(staged, "w", kept)
        _sync(staged)
        os.replace(staged, self.path)
        self._begun = True


def _write(path: Path, mode: str, lines: list[Metric]) -> None:
    """Write lines, under a header in a new file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if mode == "w":
        writer.writerow(Metric._fields)
    for line in lines:
        # Seven digits are what 32-bit numbers hold: 0.95, not 0.949999988.
        writer.writerow([line.epoch, line.env_steps, f"{line.unix_time:.3f}", line.metric, f"{line.value:.7g}"])
    with path.open(mode, newline="") as file:
        file.write(text.getvalue())


def _sync(path: Path) -> None:
    with path.open("a") as file:
        os.fsync(file.fileno())


def read_metrics(folder: Path) -> list[Metric]:
    """Read the table of a run, without a last line that a kill cut short; nothing where there is no table."""
    try:
        text = (folder / METRICS_FILE).read_text(errors="replace")
    except FileNotFoundError:
        return []
    lines = []
    for cells in csv.reader(text[: text.rfind("\n") + 1].splitlines()):
        try:
            epoch, env_steps, unix_time, metric, value = cells
            lines.append(Metric(int(epoch), int(env_steps), float(unix_time), metric, float(value)))
        except ValueError:  # the header, or damage
            continue
    return lines
