import csv
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

import pytest

ROOT = Path(__file__).parents[1]
Curve = dict[int, float]  # success rate by environment steps


def curves(late: bool = False) -> dict[str, list[Curve]]:
    """The curves of mher_plus by task, one a seed; of the long runs with few evaluations if `late`."""
    seeds: dict[str, dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted((ROOT / "benchmarks" / "results" / "plus").glob("*/curves.csv")):
        for row in csv.DictReader(path.open()):
            if row["algorithm"] == "mher_plus" and path.parent.name.endswith("_late") == late:
                seeds[row["task"]][row["seed"]][int(row["env_steps"])] = float(row["success_rate"])
    return {task: list(own.values()) for task, own in seeds.items()}


def first(curve: Curve) -> int:
    return next(steps for steps, rate in curve.items() if rate > 0.949)


def test_there_are_results_of_every_task():
    assert len(curves()) == 7


@pytest.mark.parametrize(("task", "runs"), curves().items())
def test_the_table_of_mher_plus_is_that_of_the_results(task, runs):
    assert len(runs) == 5
    middle = {steps: median(run[steps] for run in runs) for steps in runs[0]}
    following = [rate for steps, rate in middle.items() if steps > first(middle)][:5]
    last = sorted(fmean(list(run.values())[-10:]) for run in runs)
    cells = (
        task,
        f"{first(middle):,}",
        ", ".join(f"{steps:,}" for steps in sorted(map(first, runs))),
        f"{fmean(following):.2f}",
        f"{max(runs[0]):,}",
        f"{median(last):.2f} ({last[0]:.2f})",
    )
    assert f"| {' | '.join(cells)} |" in (ROOT / "docs" / "mher_plus.md").read_text()


def test_what_is_said_of_long_runs_is_that_of_the_results():
    text = (ROOT / "docs" / "mher_plus.md").read_text()
    for task, runs in curves(late=True).items():
        assert len(runs) == 5
        last = sorted(fmean(list(run.values())[-10:]) for run in runs)
        said = rf"{median(last):.2f} on {task[:5]}\w* \((worst seed )?{last[0]:.2f}\)"
        assert re.search(said, text), task
