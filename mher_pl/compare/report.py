"""The `report` command: finished runs in, curves, statistics and a figure out."""

import csv
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mher_pl.compare.figure import STYLES, X_LABELS, draw_curves
from mher_pl.compare.page import make_page
from mher_pl.compare.runs import CurvePoint, IncompleteRun, Run, find_runs, read_run
from mher_pl.compare.summary import (
    Groups,
    ImprovementRow,
    OverallRow,
    SummaryRow,
    compare,
    rank,
    summarise,
    summarise_tasks,
)
from mher_pl.compare.tables import as_lines, make_tables
from mher_pl.errors import OneLineParser, UserError, require
from mher_pl.storage.folder import local_path

TASK_ORDER = ["Point2DLarge", "Point2DFourRoom", "FetchReach", "SawyerReach", "Reacher"]  # the paper's Figure 2


def report(paths: list[Path], out: Path, x: str = "epoch", labels: Sequence[str] = ()) -> None:
    """Read the runs at or below `paths`; write page, figure and tables to `out` and print the tables.

    Every run that is left out is named on the error stream, with the reason.

    Args:
        paths: folders of runs, or folders that hold some.
        out: where to write.
        x: what the figure's curves are drawn against, one of `X_LABELS`.
        labels: for each of `paths`, what the method of its runs is called here, or what stands behind the names of
            its methods where one of `paths` has several; none keeps their names.

    Raises:
        UserError: no run can be used, `out` cannot be written, or the labels or `x` do not fit the runs.
    """
    if labels:
        require(len(labels) == len(paths), "--label", " ".join(labels), f"{len(paths)} names, one for each RUN")
    runs = _read_runs(paths, labels)
    if not runs:
        raise UserError(f"RUN is {' '.join(map(str, paths))}; allowed: folders with at least one finished run")
    order = [*labels, *STYLES]
    groups = _group(runs, order)
    summary = [summarise(task, algorithm, members) for (task, algorithm), members in groups.items()]
    overall = summarise_tasks(groups)
    improvement = compare(groups, order)
    tables = make_tables(summary, overall, improvement)
    figure = _draw(groups, x)
    try:
        written = _write(out, groups, summary, overall, improvement)
        figure.savefig(out / "curves.png", dpi=150)
        page = make_page((out / "curves.png").read_bytes(), tables, groups)
        (out / "report.html").write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out is {out} ({error}); allowed: a folder, new or existing, that can be written") from None
    for table in tables:
        print(f"\n{as_lines(table)}")
    print(f"\n{len(runs)} {'run' if len(runs) == 1 else 'runs'} in {', '.join(map(str, written))}")


def _write(
    out: Path,
    groups: Groups,
    summary: list[SummaryRow],
    overall: list[OverallRow],
    improvement: list[ImprovementRow],
) -> list[Path]:
    """Write the tables, and return the paths of all that a report consists of."""
    out.mkdir(parents=True, exist_ok=True)
    curves = [
        (task, algorithm, run.seed, *point)
        for (task, algorithm), members in groups.items()
        for run in members
        for point in run.curve
    ]
    _write_csv(out / "curves.csv", ("task", "algorithm", "seed", *CurvePoint._fields), curves)
    _write_csv(out / "summary.csv", SummaryRow._fields, summary)
    written = [out / "report.html", out / "curves.csv", out / "curves.png", out / "summary.csv"]
    for name, fields, rows in (
        ("overall.csv", OverallRow._fields, overall),
        ("improvement.csv", ImprovementRow._fields, improvement),
    ):
        if rows:
            _write_csv(out / name, fields, rows)
            written.append(out / name)
        else:  # one of an earlier report would seem to belong to this one
            (out / name).unlink(missing_ok=True)
    return written


def _read_runs(paths: list[Path], labels: Sequence[str]) -> list[Run]:
    runs: dict[Path, list[Run]] = defaultdict(list)
    found = find_runs(paths)
    for path, label in zip(paths, labels, strict=False):
        own = path in found.values() and paths.count(path) == 1
        require(own, "--label", label, "for a RUN that has runs, given once, and before one that it lies in")
    for folder, path in found.items():
        try:
            runs[path].append(read_run(folder))
        except IncompleteRun as reason:
            _print_error(f"left out: {folder} {reason}")
    several = any(len({run.algorithm for run in own}) > 1 for own in runs.values())
    for path, label in zip(paths, labels, strict=False):
        runs[path] = [replace(run, algorithm=f"{run.algorithm}, {label}" if several else label) for run in runs[path]]
    return [run for own in runs.values() for run in own]


def _group(runs: list[Run], order: list[str]) -> Groups:
    """Sort the runs into groups that may be averaged; name and drop the ones that may not, from `runs` too."""
    newest: dict[tuple[str, str, int], Run] = {}
    for run in sorted(runs, key=lambda run: run.ended):
        key = (run.task, run.algorithm, run.seed)
        if key in newest:
            older, differing = newest[key], ", ".join(sorted(_differing([newest[key], run])))
            _print_error(
                f"left out: {older.folder} is an older run of the same task, algorithm and seed as {run.folder}"
                f"{differing and f', though they differ in {differing}'}; --label tells them apart"
            )
        newest[key] = run

    groups: Groups = defaultdict(list)
    for key in sorted(newest, key=lambda key: (rank(key[0], TASK_ORDER), rank(key[1], order), key[2])):
        groups[key[:2]].append(newest[key])
    for (task, algorithm), members in groups.items():
        counts = Counter(tuple(point.epoch for point in run.curve) for run in members)
        usual = max(counts, key=lambda epochs: (counts[epochs], len(epochs)))
        for run in [run for run in members if tuple(point.epoch for point in run.curve) != usual]:
            _print_error(
                f"left out: {run.folder} ends at epoch {run.curve[-1].epoch}, the other {algorithm} runs at {usual[-1]}"
            )
            members.remove(run)
        differing = ", ".join(sorted(_differing(members)))
        if differing:
            _print_error(f"note: the runs of {algorithm} on {task} are averaged though they differ in {differing}")
    for task in dict.fromkeys(task for task, _ in groups):
        for which, place in (("first", 0), ("last", -1)):  # between which is the area under the curve
            at = {name: members[0].curve[place].env_steps for (of, name), members in groups.items() if of == task}
            if len(set(at.values())) > 1:
                steps = ", ".join(f"{name} {number:,}" for name, number in at.items())
                _print_error(f"note: on {task} the {which} evaluations are after different steps: {steps}")
    runs[:] = [run for members in groups.values() for run in members]
    return dict(groups)


def _differing(members: list[Run]) -> Iterable[str]:
    """Name the settings, the seed's own apart, in which the runs of one group differ."""
    for key in {key for run in members for key in run.settings if not key.endswith(".seed")}:
        if len({repr(run.settings.get(key)) for run in members}) > 1:
            yield key


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    """Write a table; a number that is not finite becomes an empty cell."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([[_cell(value) for value in row] for row in rows])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return value


def _draw(groups: Groups, x: str) -> Figure:
    """Draw the curves against `x`; where seeds differ in it, against its median over them."""
    tasks: dict[str, dict] = defaultdict(dict)
    for (task, algorithm), members in groups.items():
        places = np.median([[getattr(point, x) for point in run.curve] for run in members], axis=0)  # [E]
        if not np.isfinite(places).all():
            raise UserError(f"--x is {x}, which runs of {algorithm} on {task} do not record; allowed: epoch, env_steps")
        rates = np.array([[point.success_rate for point in run.curve] for run in members])  # [seed, E]
        tasks[task][algorithm] = (places, rates)
    episodes = sorted({run.episodes for members in groups.values() for run in members})
    return draw_curves(tasks, episodes, X_LABELS[x])


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = OneLineParser(
        prog="python -m mher_pl report",
        description="Learning curves, statistics over seeds and a figure, from finished runs' metrics.csv.",
        epilog="Unfinished and broken runs are named on the error stream and left out.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=partial(local_path, setting="RUN"),
        metavar="RUN",
        help="a run's folder, or a folder that holds runs",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=partial(local_path, setting="--out"),
        metavar="DIR",
        help="folder of the page, the figure and the tables",
    )
    parser.add_argument("--x", choices=X_LABELS, default="epoch", help="what curves are drawn against (default: epoch)")
    parser.add_argument(
        "--label",
        nargs="+",
        default=[],
        metavar="NAME",
        help="for each RUN, what its method is called here, or what stands behind the names of its methods: tells two "
        "settings of one method apart",
    )
    arguments = parser.parse_args(argv)
    report(arguments.runs, arguments.out, arguments.x, arguments.label)
    return 0
