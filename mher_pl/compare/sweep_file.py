"""A sweep's YAML file: tasks x algorithms x values of settings, or the panels of a figure."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from mher_pl.compare.grid import Method, Panel, Sweep, last, plain
from mher_pl.compare.runs import task_name
from mher_pl.compare.search import Search, read_setting
from mher_pl.errors import UserError, require_int
from mher_pl.storage.configs import find_config, read_config
from mher_pl.storage.folder import local_path
from mher_pl.storage.settings import flatten
from mher_pl.streams import MAX_SEED

GRID_KEYS = ("tasks", "algorithms", "grid")
KEYS = (
    "tasks",
    "algorithms",
    "seeds",
    "jobs",
    "out",
    "overrides",
    "grid",
    "panels",
    "slurm",
    "search",
    "trials",
    "prune_from",
)
MAX_SEEDS = 10_000
RESERVED = ("config", "seed_everything", "algorithm", "ckpt_path", "trainer.default_root_dir")  # set per cell


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep's YAML file.

    Raises:
        UserError: it is missing, or a key or a value is not allowed.
    """
    text = read_config("SWEEP", path)
    for key in text:
        if key not in KEYS:
            raise UserError(f"{path} has the key {key!r}; allowed: {', '.join(KEYS)}")
    beside = path.resolve().parent.parent  # where the file lies in `sweeps` of a `configs` folder
    overrides = _overrides(text.get("overrides") or {})
    panels: dict[str, Panel] = {}
    if "panels" in text:
        for key in GRID_KEYS:
            if key in text:
                raise UserError(f"{path} has the keys panels and {key}; allowed: panels, or {', '.join(GRID_KEYS)}")
        panels = _panels(text["panels"], overrides, beside)
        pairs = [(panel.task, method) for panel in panels.values() for method in panel.curves.values()]
        _require_own_folders(path, pairs)
    else:
        tasks = _configs(text, "tasks", "", beside)
        _require_own_tasks(path, tasks)
        algorithms = _configs(text, "algorithms", "algorithms", beside)
        grid = _grid(text.get("grid") or {}, overrides)
        points = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        pairs = [(task, Method(*entry)) for task in tasks for entry in product(algorithms, points)]
    _require_own_names(path, pairs)
    jobs = text.get("jobs", 1)
    require_int("jobs", jobs, 1)
    return Sweep(
        pairs=pairs,
        seeds=_seeds(text.get("seeds")),
        out=_out(text.get("out", str(Path("runs") / path.stem))),
        jobs=jobs,
        overrides=overrides,
        panels=panels,
        slurm=_slurm(text.get("slurm") or {}),
        search=_search(text, pairs, overrides),
    )


def _require_own_folders(path: Path, pairs: list[tuple[Path, Method]]) -> None:
    """Raise `UserError` if cells with other settings would share a folder."""
    folders: dict[tuple[str, str], tuple[Path, Method]] = {}
    for task, method in pairs:
        if folders.setdefault((task.stem, method.name), (task, method)) != (task, method):
            raise UserError(f"{path} has two of {task.stem}/{method.name}; allowed: different names, for the folders")


def _require_own_names(path: Path, pairs: list[tuple[Path, Method]]) -> None:
    """Raise `UserError` if a report would take the runs of two algorithms for those of one."""
    files: dict[tuple[Path, str], Path] = {}
    for task, method in pairs:
        if method.values:  # which its name says
            continue
        name = str((read_config("--config", task) | read_config("--config", method.algorithm)).get("algorithm"))
        first = files.setdefault((task, name), method.algorithm)
        if first != method.algorithm:
            raise UserError(
                f"{path} has {first} and {method.algorithm}, in both of which algorithm is {name}; allowed: a name of "
                "its own in each"
            )


def _require_own_tasks(path: Path, tasks: list[Path]) -> None:
    """Raise `UserError` if a report would take the runs of two configs for those of one task."""
    names: dict[str, Path] = {}
    for task in tasks:
        data = read_config("tasks", task).get("data")
        if not isinstance(data, dict) or not isinstance(data.get("env"), str):
            continue  # what is wrong with it, or that it is no task's, the check of its settings tells
        if not isinstance(data.get("env_kwargs") or {}, dict):
            continue
        name = task_name(data)
        if (other := names.setdefault(name, task)) != task:
            raise UserError(f"{path} has {other} and {task}, both of the task {name}; allowed: one of them in a sweep")


def _panels(value: Any, overrides: dict[str, Any], beside: Path) -> dict[str, Panel]:
    """Read panels by their title: each a task and its curves, by label or, where no label is given, by algorithm."""
    if not isinstance(value, dict) or not value:
        raise UserError(f"panels is {value!r}; allowed: titles, each with a task and curves")
    panels: dict[str, Panel] = {}
    for title, content in value.items():
        name = f"panels.{title}"
        if not isinstance(content, dict) or set(content) != {"task", "curves"}:
            raise UserError(f"{name} is {content!r}; allowed: the keys task and curves")
        curves = content["curves"]
        if isinstance(curves, list) and all(isinstance(entry, str) for entry in curves):
            curves = {entry: entry for entry in curves}
        if not isinstance(curves, dict) or not curves:
            raise UserError(f"{name}.curves is {curves!r}; allowed: a list of algorithms, or labels with one each")
        task = find_config(f"{name}.task", str(content["task"]), "", beside=beside)
        methods = {str(key): _method(f"{name}.curves.{key}", curves[key], overrides, beside) for key in curves}
        panels[str(title)] = Panel(task, methods)
    return panels


def _method(name: str, entry: Any, overrides: dict[str, Any], beside: Path) -> Method:
    """Read a curve: an algorithm, or `algorithm: {setting: value}`."""
    values: Any = {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((entry, values),) = entry.items()
    if not isinstance(entry, str) or not isinstance(values, dict):
        raise UserError(f"{name} is {entry!r}; allowed: an algorithm, or with values her: {{model.discount: 0.98}}")
    _grid({key: [value] for key, value in values.items()}, overrides, name)
    return Method(find_config(name, entry, "algorithms", beside=beside), values)


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


def _seeds(value: Any) -> list[int]:
    seeds = list(range(value)) if type(value) is int and value <= MAX_SEEDS else value
    valid = (
        isinstance(seeds, list)
        and all(type(seed) is int and 0 <= seed <= MAX_SEED for seed in seeds)
        and 0 < len(seeds) == len(set(seeds)) <= MAX_SEEDS
    )
    if not valid:
        raise UserError(
            f"seeds is {value!r}; allowed: a number of seeds from 1 to {MAX_SEEDS}, or a list of at most as many "
            f"different integers from 0 to {MAX_SEED}"
        )
    return seeds


def _grid(value: Any, overrides: dict[str, Any], name: str = "grid") -> dict[str, list[Any]]:
    lists = isinstance(value, dict) and all(isinstance(values, list) and values for values in value.values())
    if not lists or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"{name} is {value!r}; allowed: dotted settings with lists of values, such as model.discount: [0.98]"
        )
    for key, values in value.items():
        names = [plain(entry) for entry in values]
        _require_free(name, key, values, overrides)
        if len(set(names)) < len(names) or not all(names):
            raise UserError(f"{name} has {key}: {values!r}; allowed: values that differ in letters and digits")
    if len({last(key) for key in value}) < len(value):
        raise UserError(f"{name} has {', '.join(value)}; allowed: settings whose last words differ")
    return value


def _overrides(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"overrides is {value!r}; allowed: dotted settings and their values, such as trainer.max_epochs: 5"
        )
    for key, entry in value.items():
        _require_free("overrides", key, [entry], {})
    return value


def _require_free(name: str, key: str, values: Sequence[Any], overrides: Mapping[str, Any]) -> None:
    taken = {setting for other, value in overrides.items() for setting in _settings(other, value)}
    for setting in {setting for value in values for setting in _settings(key, value)}:
        if setting in RESERVED:
            raise UserError(
                f"{name} has {setting}, which the sweep sets for each cell; allowed: any other setting of fit"
            )
        if setting in taken:
            raise UserError(f"{name} has {setting}, which overrides has too; allowed: one of the two")


def _settings(key: str, value: Any) -> set[str]:
    """Return the dotted settings that a key sets with its value, which may be a section."""
    return {key, *dict(flatten({key: value}))}


def _slurm(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(f"slurm is {value!r}; allowed: settings of submitit's AutoExecutor, such as timeout_min: 60")
    return value


def _search(text: dict[str, Any], pairs: Collection[Any], overrides: dict[str, Any]) -> Search | None:
    value, prune_from = text.get("search"), text.get("prune_from")
    trials: Any = text.get("trials")
    if value is None:
        for key in ("trials", "prune_from"):
            if text.get(key) is not None:
                raise UserError(f"{key} is {text[key]!r}, where there is no search; allowed: with the key search")
        return None
    if not isinstance(value, dict) or not value or not all(isinstance(key, str) for key in value):
        raise UserError(
            f"search is {value!r}; allowed: dotted settings, such as model.discount: {{low: 0.9, high: 0.99}}"
        )
    for key in ("grid", "panels"):
        if text.get(key):
            raise UserError(f"search is beside {key}; allowed: one task and one algorithm, without a grid or panels")
    if len(pairs) > 1:
        raise UserError(f"search is of {len(pairs)} pairs of task and algorithm; allowed: one")
    require_int("trials", trials, 1)
    if prune_from is not None:
        require_int("prune_from", prune_from, 1)
    for key in value:
        _require_free("search", key, [None], overrides)
    return Search({key: read_setting(key, setting) for key, setting in value.items()}, trials, prune_from)
