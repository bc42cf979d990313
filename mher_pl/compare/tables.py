"""The tables of a report as people read them: on the screen and on its page."""

import math
from typing import NamedTuple

from mher_pl.compare.statistics import Estimate
from mher_pl.compare.summary import ImprovementRow, OverallRow, SummaryRow


class Table(NamedTuple):
    """A table of texts."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def make_tables(summary: list[SummaryRow], overall: list[OverallRow], improvement: list[ImprovementRow]) -> list[Table]:
    """Return a table for each task, one over all tasks, and how the first algorithm compares with the others."""
    header: tuple[str, ...] = "algorithm", "seeds", "episodes", "median", "IQM [95 % interval]", "area", "steps to 95 %"
    tables = []
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
        tables.append(Table(f"{task}: success rate after the last epoch", header, rows))
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
        header = "algorithm", "runs", "episodes", "IQM [95 % interval]"
        tables.append(Table(f"All {overall[0].tasks} tasks, bootstrapped within tasks", header, rows))
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
        title = f"How probably a run of {first} ends above one of another algorithm on the same task; a tie is a half"
        tables.append(Table(title, ("algorithm", "tasks", "runs", "episodes", "probability [95 % interval]"), rows))
    return tables


def as_lines(table: Table) -> str:
    """Return a table as lines of aligned columns."""
    lines = [table.header, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        [
            table.title,
            *("  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines),
        ]
    )


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f} [one seed]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _steps(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "-"
