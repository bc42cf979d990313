"""The `report` command: finished runs in, curves, statistics and a figure out."""

import csv
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from mher_pl.compare.figure import STYLES, draw_curves
from mher_pl.compare.runs import CurvePoint, IncompleteRun, Run, find_runs, read_run
from mher_pl.compare.statistics import Estimate
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
from mher_pl.errors import OneLineParser, UserError
from mher_pl.storage.folder import local_path

TASK_ORDER = ["Point2DLarge", "Point2DFourRoom", "FetchReach", "SawyerReach", "Reacher"]  # the paper's Figure 2


def report(paths: list[Path], out: Path) -> None:
    """Read the runs at or below `paths`; write the figure and the tables to `out` and print the tables.

    Every run that is left out is named on the error stream, with the reason.

    Raises:
        UserError: no run can be used, or `out` cannot be written.
    """
    runs = _read_runs(paths)
    if not runs:
        raise UserError(f"RUN is {' '.join(map(str, paths))}; allowed: folders with at least one finished run")
    groups = _group(runs)
    summary = [summarise(task, algorithm, members) for (task, algorithm), members in groups.items()]
    overall = summarise_tasks(groups)
    improvement = compare(groups)
    try:
        written = _write(out, groups, summary, overall, improvement)
    except OSError as error:
        raise UserError(f"--out is {out} ({error}); allowed: a folder, new or existing, that can be written") from None
    _print_tables(summary, overall, improvement)
    print(f"\n{len(runs)} {'run' if len(runs) == 1 else 'runs'} in {', '.join(map(str, written))}")


def _write(
    out: Path,
    groups: Groups,
    summary: list[SummaryRow],
    overall: list[OverallRow],
    improvement: list[ImprovementRow],
) -> list[Path]:
    """Write the tables and the figure and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    curves = [
        (task, algorithm, run.seed, point.epoch, point.env_steps, f"{point.success_rate:.6g}", f"{point.wall_s:.3f}")
        for (task, algorithm), members in groups.items()
        for run in members
        for point in run.curve
    ]
    _write_csv(out / "curves.csv", ("task", "algorithm", "seed", *CurvePoint._fields), curves)
    _write_csv(out / "summary.csv", SummaryRow._fields, summary)
    written = [out / "curves.csv", out / "curves.png", out / "summary.csv"]
    for name, fields, rows in (
        ("overall.csv", OverallRow._fields, overall),
        ("improvement.csv", ImprovementRow._fields, improvement),
    ):
        if rows:
            _write_csv(out / name, fields, rows)
            written.append(out / name)
    _draw(groups, out / "curves.png")
    return written


def _read_runs(paths: list[Path]) -> list[Run]:
    runs = []
    for folder in find_runs(paths):
        try:
            runs.append(read_run(folder))
        except IncompleteRun as reason:
            _print_error(f"left out: {folder} {reason}")
    return runs


def _group(runs: list[Run]) -> Groups:
    """Sort the runs into groups that may be averaged; name and drop the ones that may not, from `runs` too."""
    newest: dict[tuple[str, str, int], Run] = {}
    for run in sorted(runs, key=lambda run: run.ended):
        key = (run.task, run.algorithm, run.seed)
        if key in newest:
            older = newest[key].folder
            _print_error(f"left out: {older} is an older run of the same task, algorithm and seed as {run.folder}")
        newest[key] = run

    groups: Groups = defaultdict(list)
    for key in sorted(newest, key=lambda key: (rank(key[0], TASK_ORDER), rank(key[1], list(STYLES)), key[2])):
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


def _draw(groups: Groups, path: Path) -> None:
    tasks: dict[str, dict] = defaultdict(dict)
    for (task, algorithm), members in groups.items():
        rates = np.array([[point.success_rate for point in run.curve] for run in members])  # [seed, E]
        tasks[task][algorithm] = ([point.epoch for point in members[0].curve], rates)
    draw_curves(tasks, sorted({run.episodes for members in groups.values() for run in members})).savefig(path, dpi=150)


def _print_tables(summary: list[SummaryRow], overall: list[OverallRow], improvement: list[ImprovementRow]) -> None:
    header = ("algorithm", "seeds", "episodes", "median", "IQM [95 % interval]", "area", "steps to 95 %")
    for task in dict.fromkeys(row.task for row in summary):
        rows: list[tuple[str, ...]] = [
            (
                row.algorithm,
                str(row.seeds),
                str(row.episodes),
                f"{row.median_final_success:.3f}",
                _interval(Estimate(row.iqm_final_success, row.iqm_low, row.iqm_high)),
                f"{row.area_under_curve:.3f}",
                f"{_steps(row.env_steps_to_95)} ({row.seeds_reaching_95}/{row.seeds})",
            )
            for row in summary
            if row.task == task
        ]
        print(f"\n{task}: success rate after the last epoch\n{_table(header, rows)}")
    if overall:
        rows = [
            (
                row.algorithm,
                str(row.runs),
                str(row.episodes),
                _interval(Estimate(row.iqm_final_success, row.iqm_low, row.iqm_high)),
            )
            for row in overall
        ]
        print(f"\nAll {overall[0].tasks} tasks, bootstrapped within tasks")
        print(_table(("algorithm", "runs", "episodes", "IQM [95 % interval]"), rows))
    first = improvement[0].algorithm if improvement else ""
    rows = [
        (
            row.other,
            str(row.tasks),
            f"{row.runs} : {row.other_runs}",
            str(row.episodes),
            _interval(Estimate(row.probability, row.low, row.high)),
        )
        for row in improvement
        if row.algorithm == first
    ]
    if rows:
        print(f"\nHow probably a run of {first} ends above one of another algorithm on the same task; a tie is a half")
        print(_table(("algorithm", "tasks", "runs", "episodes", "probability [95 % interval]"), rows))


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f} [one seed]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _steps(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "-"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, *rows]
    return "\n".join(
        "  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = OneLineParser(
        prog="python -m mher_pl report",
        description="Learning curves, statistics over seeds and a figure, from finished runs' metrics.csv.",
        epilog="Unfinished and broken runs are named on the error stream and left out.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or a folder that holds runs")
    parser.add_argument(
        "--out",
        required=True,
        type=partial(local_path, setting="--out"),
        metavar="DIR",
        help="folder of the tables and the figure",
    )
    arguments = parser.parse_args(argv)
    report(arguments.runs, arguments.out)
    return 0
