"""What seeds that train side by side tell each other: one small file each, so that no seed ever waits for another."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from lightning.fabric.plugins.environments import ClusterEnvironment

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
FILE = "side_by_side.jsonl"
Stamp = tuple[int, int, int]


@dataclass
class SeedRecord:
    """What one seed told so far."""

    rates: dict[int, tuple[int, float]] = field(default_factory=dict)  # epoch: (environment steps, success rate)
    state: str = RUNNING
    reason: str = ""  # why it failed
    stamp: Stamp | None = None  # changes with every word; no clock, for that may jump


class SeedBoard:
    """The success rates of `seeds` seeds from `first` on, each told by its own seed in a file of its run's folder.

    The others find it there, below the name of the seed, by the launch that its first line names. Files work the
    same for processes of one machine and of a cluster with a shared file system, whoever started them, need no
    port, and cannot hang when a seed dies, as a collective operation would.

    Args:
        run: the folder of this process's run, beside which the others' lie.
        first: the seed of rank 0.
        seeds: how many.
        launch: tells this start of the program from earlier ones; the same for all its processes.
        reused: whether an earlier start may have had the same name. What lies there as this process makes its board
            then counts as the earlier's.
    """

    def __init__(self, run: Path, first: int, seeds: int, launch: str, reused: bool) -> None:
        self.file, self.first, self.seeds, self.launch = run / FILE, first, seeds, launch
        others = [path for rank in range(seeds) for path in self._files(rank) if path != self.file]
        self._earlier = {path: _stamp(path) for path in others} if reused else {}

    def start(self, epoch: int | None) -> None:
        """Begin the own file; a resumed run keeps the epochs before `epoch`, one that is refused all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        told = [line for line in _lines(self.file) if "epoch" in line]
        kept = [line for line in told if epoch is None or line["epoch"] < epoch]
        staged = self.file.with_suffix(".part")
        staged.write_text("".join(json.dumps(line) + "\n" for line in [{"launch": self.launch}, *kept]))
        os.replace(staged, self.file)

    def report(self, epoch: int, env_steps: int, success_rate: float) -> None:
        """Tell an epoch's success rate."""
        self._append({"epoch": epoch, "env_steps": env_steps, "success_rate": success_rate})

    def live(self) -> None:
        """Tell no more than that this seed is still there."""
        os.utime(self.file)

    def end(self, state: str, reason: str = "") -> None:
        """Tell how this seed ended."""
        self._append({"state": state, "reason": reason})

    def read(self, rank: int) -> SeedRecord:
        """Return what a rank told since this launch; nothing of earlier launches, except epochs that it kept.

        Where the launch's name may be reused, a rank that began before this process is heard from its next word on.
        """
        record = SeedRecord()
        for path in self._files(rank):
            stamp, lines = _stamp(path), _lines(path)
            if not lines or lines[0].get("launch") != self.launch or stamp == self._earlier.get(path):
                continue
            record.stamp = stamp
            for line in lines[1:]:
                if "epoch" in line:
                    record.rates[line["epoch"]] = (line["env_steps"], line["success_rate"])
                else:
                    record.state, record.reason = line["state"], line["reason"]
        return record

    def _files(self, rank: int) -> list[Path]:
        """Return the files of all runs of a rank's seed."""
        seed, runs = f"seed_{self.first + rank}", self.file.parent.parent
        return [runs / seed / FILE, *runs.glob(f"{seed}-*/{FILE}")]

    def _append(self, line: dict) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _stamp(path: Path) -> Stamp | None:
    """Return what tells a file from itself before its last word; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _lines(path: Path) -> list[dict]:
    """Read the whole lines of a file; one that is being written, or was cut short, is left out."""
    lines = []
    try:
        for text in path.read_text().splitlines():
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
