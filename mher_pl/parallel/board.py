"""What seeds that train side by side tell each other: one small file each, so that no seed ever waits for another."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from lightning.fabric.plugins.environments import ClusterEnvironment

RUNNING, FINISHED, FAILED = "running", "finished", "failed"


@dataclass
class SeedRecord:
    """What one seed told so far."""

    rates: dict[int, tuple[int, float]] = field(default_factory=dict)  # epoch: (environment steps, success rate)
    state: str = RUNNING
    reason: str = ""  # why it failed
    stamp: tuple[int, int, int] | None = None  # changes with every word; no clock, for that may jump


class SeedBoard:
    """The success rates of `seeds` seeds from `first` on, in `folder`/seed_<seed>.jsonl, each written by its own seed.

    Files work the same for processes of one machine and of a cluster with a shared file system, whoever started them,
    need no port, and cannot hang when a seed dies, as a collective operation would.

    Args:
        folder: shared by all seeds.
        first: the seed of rank 0.
        seeds: how many.
        launch: tells this start of the program from earlier ones; the same for all its processes. Where a launcher
            gives every start the same name, what lies there at this process's own `start` counts as an earlier one's.
    """

    def __init__(self, folder: Path, first: int, seeds: int, launch: str) -> None:
        self.folder, self.first, self.seeds, self.launch = folder, first, seeds, launch
        self._earlier: list[tuple[int, int, int] | None] = [None] * seeds  # stamps at this process's own start

    def path(self, rank: int) -> Path:
        """Return the file of a rank."""
        return self.folder / f"seed_{self.first + rank}.jsonl"

    def start(self, rank: int, epoch: int) -> None:
        """Begin the file of a rank; a resumed run keeps the epochs before `epoch`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = [line for line in self._lines(rank) if epoch > line.get("epoch", epoch)]
        staged = self.path(rank).with_suffix(".part")
        staged.write_text("".join(json.dumps(line) + "\n" for line in [{"launch": self.launch}, *kept]))
        os.replace(staged, self.path(rank))
        self._earlier = [None if other == rank else self._stamp(other) for other in range(self.seeds)]

    def report(self, rank: int, epoch: int, env_steps: int, success_rate: float) -> None:
        """Tell an epoch's success rate."""
        self._append(rank, {"epoch": epoch, "env_steps": env_steps, "success_rate": success_rate})

    def end(self, rank: int, state: str, reason: str = "") -> None:
        """Tell how a rank ended."""
        self._append(rank, {"state": state, "reason": reason})

    def read(self, rank: int) -> SeedRecord:
        """Return what a rank told since this launch; nothing of earlier launches, except epochs that it kept.

        A rank that began before this process is heard from its next word on.
        """
        lines = self._lines(rank)
        record = SeedRecord()
        if not lines or lines[0].get("launch") != self.launch:
            return record
        record.stamp = self._stamp(rank)
        if record.stamp == self._earlier[rank]:
            return record
        for line in lines[1:]:
            if "epoch" in line:
                record.rates[line["epoch"]] = (line["env_steps"], line["success_rate"])
            else:
                record.state, record.reason = line["state"], line["reason"]
        return record

    def _stamp(self, rank: int) -> tuple[int, int, int] | None:
        """Return what tells a rank's file from itself before its last word; None where there is none."""
        try:
            status = self.path(rank).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _append(self, rank: int, line: dict) -> None:
        with self.path(rank).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self, rank: int) -> list[dict]:
        """Read the whole lines of a rank's file; one that is being written, or was cut short, is left out."""
        lines = []
        try:
            for text in self.path(rank).read_text().splitlines():
                lines.append(json.loads(text))
        except (FileNotFoundError, ValueError):
            pass
        return lines


def launch_id(environment: ClusterEnvironment) -> str:
    """Name this start of the program, the same in all its processes and different after a restart."""
    variables = (
        "SLURM_JOB_ID",
        "SLURM_STEP_ID",
        "SLURM_RESTART_COUNT",
        "TORCHELASTIC_RUN_ID",
        "TORCHELASTIC_RESTART_COUNT",
    )
    parts = [environment.main_address, environment.main_port, *(os.environ.get(name, "") for name in variables)]
    return ":".join(map(str, parts))
