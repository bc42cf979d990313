"""A grid of cells: what a sweep's file asks for, and what of it is on disk."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from mher_pl.compare.runs import IncompleteRun, Run, find_runs, read_run
from mher_pl.errors import UserError
from mher_pl.storage.configs import find_config
from mher_pl.storage.folder import local_path
from mher_pl.storage.settings import as_text

FIT = [sys.executable, "-m", "mher_pl", "fit"]
CHECK = [sys.executable, "-m", "mher_pl.run.check"]
KEYS = ("tasks", "algorithms", "seeds", "jobs", "out", "overrides", "grid")
MAX_SEED = 2**32 - 1  # the largest one that fit takes
MAX_SEEDS = 10_000
RESERVED = ("config", "seed_everything", "algorithm", "ckpt_path", "trainer.default_root_dir")  # set per cell


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
        """Return the command line of its `fit`, which continues an interrupted run."""
        return [*FIT, *self.arguments(), *(("--ckpt_path", "last") if self.has_checkpoint() else ())]

    def log_entry(self, command: list[str]) -> str:
        """Return what its log keeps of a start: the command, and behind a # the digests of its config files."""
        return f"{shlex.join(command)} # {' '.join(self.configs.values())}"

    def has_checkpoint(self) -> bool:
        """Tell whether there is an interrupted run to continue."""
        return any(self.folder.glob("*/*/seed_*/checkpoints/last.ckpt"))

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
        before = next((line[2:] for line in reversed(lines) if line.startswith("$ ")), None)
        if before is None or not (self.has_checkpoint() or self.is_finished()):
            return
        words = shlex.split(before)[len(FIT) :]
        end = words.index("#")
        old, new = set(words[:end]) - {"--ckpt_path", "last"}, set(self.arguments())
        digests = zip(self.configs.items(), words[end + 1 :], strict=True)
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


def _digest(config: Path) -> str:
    """Return a digest of a config file's settings, which comments and the order of keys leave as it is."""
    settings = yaml.safe_dump(_read_yaml("--config is", config))  # with sorted keys
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


def _read_yaml(source: str, path: Path) -> Any:
    """Return what a YAML file holds, or raise `UserError` that begins with its `source`."""
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{source} {path}; allowed: a readable YAML file") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UserError(f"{source} {path}, which is no YAML: {' '.join(str(error).split())}") from None


@dataclass(frozen=True)
class Sweep:
    """A grid of cells."""

    tasks: list[Path]
    algorithms: list[Path]
    seeds: list[int]
    out: Path
    jobs: int = 1
    overrides: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)  # values of settings, each with each

    def cells(self) -> list[Cell]:
        """Return the cells, every seed of an algorithm with the same values on a task together."""
        digests = {config: _digest(config) for config in (*self.tasks, *self.algorithms)}
        points = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        cells = []
        for task, algorithm, point, seed in product(self.tasks, self.algorithms, points, self.seeds):
            name = "-".join([algorithm.stem, *(f"{_last(key)}-{_plain(value)}" for key, value in point.items())])
            configs = {config: digests[config] for config in (task, algorithm)}
            folder = self.out / task.stem / name / f"seed_{seed}"
            cells.append(Cell(configs, seed, folder, self.overrides | point, name if point else None))
        return cells


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _plain(value: Any) -> str:
    """Return a value as a part of a folder's name: `0.5`, or `256_256` for a list."""
    return re.sub(r"[^\w.-]+", "_", re.sub("^-", "minus", as_text(value))).strip("_")


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


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's YAML file.

    Raises:
        UserError: it is missing, or a key or a value is not allowed.
    """
    text = _read_yaml("SWEEP is", path)
    if not isinstance(text, dict):
        raise UserError(f"SWEEP is {path}; allowed: a YAML file with the keys {', '.join(KEYS)}")
    for key in text:
        if key not in KEYS:
            raise UserError(f"{path} has the key {key!r}; allowed: {', '.join(KEYS)}")
    beside = path.resolve().parent.parent  # where the file lies in `sweeps` of a `configs` folder
    return Sweep(
        tasks=_configs(text, "tasks", "", beside),
        algorithms=_configs(text, "algorithms", "algorithms", beside),
        seeds=_seeds(text.get("seeds")),
        out=_out(text.get("out", str(Path("runs") / path.stem))),
        jobs=require_jobs(text.get("jobs", 1)),
        overrides=_overrides(text.get("overrides") or {}),
        grid=_grid(text.get("grid") or {}, text.get("overrides") or {}),
    )


def _configs(text: dict[str, Any], key: str, folder: str, beside: Path) -> list[Path]:
    """Find the config files of a key: each entry a path, or the name of a file in `folder` of a `configs` folder."""
    entries = text.get(key)
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{key} is {entries!r}; allowed: a list of config files or their names")
    paths: list[Path] = []
    for entry in map(str, entries):
        path = find_config(key, entry, folder, beside=beside)
        if path.stem in {other.stem for other in paths}:
            raise UserError(f"{key} has two files named {path.stem}; allowed: different names, which name the folders")
        paths.append(path)
    return paths


def _out(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise UserError(f"out is {value!r}; allowed: the path of a folder")
    return local_path(value, "out")


def _is_int(value: Any, at_least: int, at_most: float = float("inf")) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= at_most


def _seeds(value: Any) -> list[int]:
    seeds = list(range(value)) if _is_int(value, 1, MAX_SEEDS) else value
    valid = (
        isinstance(seeds, list)
        and all(_is_int(seed, 0, MAX_SEED) for seed in seeds)
        and 0 < len(seeds) == len(set(seeds)) <= MAX_SEEDS
    )
    if not valid:
        raise UserError(
            f"seeds is {value!r}; allowed: a number of seeds from 1 to {MAX_SEEDS}, or a list of at most as many "
            f"different integers from 0 to {MAX_SEED}"
        )
    return seeds


def require_jobs(value: Any, name: str = "jobs") -> int:
    """Return the number of cells to run at once, or raise `UserError`."""
    if not _is_int(value, 1):
        raise UserError(f"{name} is {value!r}; allowed: an integer of at least 1")
    return value


def _grid(value: Any, overrides: dict[str, Any]) -> dict[str, list[Any]]:
    lists = isinstance(value, dict) and all(isinstance(values, list) and values for values in value.values())
    if not lists or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"grid is {value!r}; allowed: dotted settings with lists of values, such as model.discount: [0.98]"
        )
    for key, values in value.items():
        names = [_plain(entry) for entry in values]
        if key in RESERVED or key in overrides:
            raise UserError(f"grid has {key}, which the sweep sets for each cell; allowed: any other setting of fit")
        if len(set(names)) < len(names) or not all(names):
            raise UserError(f"grid has {key}: {values!r}; allowed: values that differ in letters and digits")
    if len({_last(key) for key in value}) < len(value):
        raise UserError(f"grid has {', '.join(value)}; allowed: settings whose last words differ")
    return value


def _overrides(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"overrides is {value!r}; allowed: dotted settings and their values, such as trainer.max_epochs: 5"
        )
    for key in RESERVED:
        if key in value:
            raise UserError(
                f"overrides has {key}, which the sweep sets for each cell; allowed: any other setting of fit"
            )
    return value
