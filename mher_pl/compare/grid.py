"""A sweep's cells, and what of them is on disk."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mher_pl.compare.runs import CurvePoint, IncompleteRun, Run, curve_so_far, find_runs, read_run
from mher_pl.compare.search import Search
from mher_pl.errors import UserError
from mher_pl.storage.configs import read_config
from mher_pl.storage.folder import LAST
from mher_pl.storage.metrics import read_metrics
from mher_pl.storage.settings import as_text

FIT = [sys.executable, "-m", "mher_pl", "fit"]
CHECK = [sys.executable, "-m", "mher_pl.run.check"]
LONGEST_NAME = 100  # of a method, as `algorithm` may have
STARTED = re.compile(r"\$ (?P<command>.+) # (?P<digests>([0-9a-f]{12} ?)+)")  # what a log keeps of a start


@dataclass(frozen=True)
class Cell:
    """One task, algorithm and seed, and the folder that holds its log and its run."""

    configs: dict[Path, str]  # the config files of its task and its algorithm, and a digest of what each says
    seed: int
    folder: Path
    overrides: dict[str, Any]
    algorithm: str | None = None  # its name in the report, where not that of the config

    @property
    def name(self) -> str:
        """Return `task/algorithm/seed_0`."""
        return "/".join(self.folder.parts[-3:])

    @property
    def log(self) -> Path:
        """Return the file of all output of the cell's fits."""
        return self.folder / "fit.log"

    def arguments(self) -> list[str]:
        """Return the arguments of its `fit`, from the beginning."""
        return [
            *(word for config in self.configs for word in ("--config", str(config))),
            *("--seed_everything", str(self.seed), "--trainer.default_root_dir", str(self.folder)),
            *self.settings(),
        ]

    def settings(self) -> list[str]:
        """Return the arguments that its config files and its seed do not hold."""
        algorithm = [] if self.algorithm is None else [f"--algorithm={self.algorithm}"]
        return [*algorithm, *(f"--{key}={as_text(value)}" for key, value in self.overrides.items())]

    def command(self) -> list[str]:
        """Return the command line of its `fit`, the same for the first start and for each that goes on."""
        return [*FIT, *self.arguments(), "--ckpt_path", "last"]

    def log_entry(self, command: list[str]) -> str:
        """Return what its log keeps of a start: the command, and behind a # the digests of its config files."""
        return f"{shlex.join(command)} # {' '.join(self.configs.values())}"

    def has_checkpoint(self) -> bool:
        """Tell whether there is an interrupted run to continue."""
        return any(self.folder.glob(f"*/*/seed_*/{LAST}"))

    def finished_run(self) -> Run:
        """Return its finished run.

        Raises:
            IncompleteRun: there is none, and what the newest one lacks.
        """
        reason = "there is no run in its folder"
        for folder in find_runs([self.folder]) if self.folder.is_dir() else []:
            try:
                return read_run(folder)
            except IncompleteRun as error:
                reason = f"its run {error}"
        raise IncompleteRun(reason)

    def curve_so_far(self) -> list[CurvePoint]:
        """Return what its newest run has of its learning curve."""
        folders = find_runs([self.folder]) if self.folder.is_dir() else {}
        return curve_so_far(read_metrics(list(folders)[-1])) if folders else []

    def is_finished(self) -> bool:
        """Tell whether it needs no more running."""
        try:
            self.finished_run()
        except IncompleteRun:
            return False
        return True

    def require_same_options(self) -> None:
        """Raise `UserError` if what is finished or can be continued was started with other options or settings."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.is_file() else []
        before = next(filter(None, map(STARTED.fullmatch, reversed(lines))), None)
        if before is None or not (self.has_checkpoint() or self.is_finished()):
            return
        old, new = _options(shlex.split(before["command"])[len(FIT) :]), _options(self.arguments())
        digests = zip(self.configs.items(), before["digests"].split(), strict=True)
        edited = [str(config) for (config, now), was in digests if now != was]
        if old != new:
            was, now = (" ".join(sorted(options)) or "no option" for options in (old - new, new - old))
            difference = f"{was} where the sweep has {now}"
        elif edited:
            difference = f"other settings in {' and '.join(edited)} than there are now"
        else:
            return
        raise UserError(
            f"out holds {self.folder}, run with {difference}; allowed: the same as before, another out, or that folder "
            "removed"
        )

    def require_unedited(self) -> None:
        """Raise `UserError` if a config file has other settings than when the sweep began."""
        for config, digest in self.configs.items():
            if _digest(config) != digest:
                raise UserError(f"{config} was edited while the sweep ran; allowed: the settings that it began with")

    def last_line(self) -> str:
        """Return the last line that the cell printed."""
        lines = self.log.read_text(errors="replace").replace("\r", "\n").split("\n") if self.log.is_file() else []
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing in its log")


def _options(words: list[str]) -> set[str]:
    """Return what the arguments of a `fit` set beside its configs, which their digests tell, and its checkpoint."""
    files = {"--config", "--ckpt_path"}
    return {word for before, word in pairwise(["", *words]) if not files & {before, word}}


def _digest(config: Path) -> str:
    """Return a digest of a config file's settings, which comments and the order of keys leave as it is."""
    settings = yaml.safe_dump(read_config("--config", config))  # with sorted keys
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


class Method(NamedTuple):
    """An algorithm, and the values that its cells have in place of its config's."""

    algorithm: Path
    values: dict[str, Any]  # by dotted setting

    @property
    def name(self) -> str:
        """Return what its folders are called: `mher`, or `mher-steps-3`."""
        words = [self.algorithm.stem, *(f"{last(key)}-{plain(value)}" for key, value in self.values.items())]
        name = "-".join(words)
        if len(name) <= LONGEST_NAME:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]  # of names with the same beginning
        return f"{name[: LONGEST_NAME - 9]}-{digest}"


class Panel(NamedTuple):
    """One part of a sweep's figure."""

    task: Path
    curves: dict[str, Method]  # by its label


@dataclass(frozen=True)
class Sweep:
    """What is to be run, and what is drawn of it."""

    pairs: list[tuple[Path, Method]]  # tasks, each with a method
    seeds: list[int]
    out: Path
    jobs: int = 1
    overrides: dict[str, Any] = field(default_factory=dict)
    panels: dict[str, Panel] = field(default_factory=dict)  # of its figure, by title
    slurm: dict[str, Any] = field(default_factory=dict)  # submitit's settings of a job
    search: Search | None = None  # of the only method's settings, by `tune`

    def cells(self) -> list[Cell]:
        """Return the cells, each once, every seed of a method on a task together."""
        digests = {path: _digest(path) for task, method in self.pairs for path in (task, method.algorithm)}
        cells = {}
        for task, method in self.pairs:
            for seed in self.seeds:
                configs = {path: digests[path] for path in (task, method.algorithm)}
                folder = self.folder(task, method, seed)
                name = method.name if method.values else None
                cells[folder] = Cell(configs, seed, folder, self.overrides | method.values, name)
        return list(cells.values())

    def cells_at(self, name: str, values: dict[str, Any]) -> list[Cell]:
        """Return the cells of the only method, called by a name of its own, with the values of a point."""
        ((task, method),) = self.pairs
        configs = {path: _digest(path) for path in (task, method.algorithm)}
        folder = self.out / task.stem / name
        return [Cell(configs, seed, folder / f"seed_{seed}", self.overrides | values, name) for seed in self.seeds]

    def folder(self, task: Path, method: Method, seed: int) -> Path:
        """Return the folder of one cell."""
        return self.out / task.stem / method.name / f"seed_{seed}"


def last(key: str) -> str:
    """Return the last word of a dotted setting."""
    return key.rpartition(".")[2]


def plain(value: Any) -> str:
    """Return a value as a part of a folder's name: `0.5`, `256_256` for a list, `Future_ratio_0.8` for a part."""
    text = re.sub(r'"(class_path|init_args)"', "", as_text(value))
    return re.sub(r"[^\w.-]+", "_", re.sub("^-", "minus", text)).strip("_")


def require_good_settings(cells: list[Cell]) -> None:
    """Raise `UserError` if a cell could not be trained as it is set; those that differ in their seed count as one."""
    first: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        first.setdefault((*map(str, cell.configs), *cell.settings()), cell)
    checked = subprocess.run(
        CHECK,
        input="".join(f"{json.dumps(cell.arguments())}\n" for cell in first.values()),
        capture_output=True,
        text=True,
    )
    answers = checked.stdout.splitlines()
    if len(answers) < len(first):
        raise UserError(f"the settings could not be checked: {' '.join(checked.stderr.split())[-300:]}")
    wrong = [(cell, answer) for cell, answer in zip(first.values(), answers, strict=True) if answer]
    if wrong:
        cell, reason = wrong[0]
        more = f" (and {len(wrong) - 1} more of {len(first)} settings)" if len(wrong) > 1 else ""
        raise UserError(f"{cell.name} cannot run: {reason}{more}")
