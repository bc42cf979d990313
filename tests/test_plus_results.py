import csv
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import compared

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PLUS = RESULTS / "plus"
Curve = dict[int, float]  # success rate by environment steps


def curves_of(paths: Iterable[Path]) -> dict[tuple[str, str], list[Curve]]:
    """The curves of these tables by task and algorithm, one a seed; where several have them, the first one's."""
    found: dict[tuple[str, str], list[Curve]] = {}
    for path in paths:
        seeds: dict[tuple[str, str], dict[str, Curve]] = defaultdict(lambda: defaultdict(dict))
        for row in csv.DictReader(path.open()):
            seeds[row["task"], row["algorithm"]][row["seed"]][int(row["env_steps"])] = float(row["success_rate"])
        found = {key: list(own.values()) for key, own in seeds.items()} | found
    return found


def curves(late: bool = False) -> dict[str, list[Curve]]:
    """The curves of mher_plus by task; of the long runs with few evaluations if `late`."""
    paths = (path for path in sorted(PLUS.glob("*/curves.csv")) if path.parent.name.endswith("_late") == late)
    return {task: runs for (task, algorithm), runs in curves_of(paths).items() if algorithm == "mher_plus"}


def first(curve: Curve) -> int:
    return next(steps for steps, rate in curve.items() if rate > 0.949)


def test_there_are_results_of_every_task():
    assert len(curves()) == 7


def last_ten(runs: list[Curve]) -> str:
    """The median over seeds of the mean of the last ten evaluations, and the worst seed's."""
    means = sorted(fmean(list(run.values())[-10:]) for run in runs)
    return f"{median(means):.2f} ({means[0]:.2f})"


@pytest.mark.parametrize(("task", "runs"), curves().items())
def test_the_table_of_mher_plus_is_that_of_the_results(task, runs):
    long = curves(late=True).get(task, [])  # those among four rooms learn over thousands of steps anyway
    assert len(runs) == 5
    assert len(long) in (0, 5)
    assert all(max(run) == 9700 for run in long)
    middle = {steps: median(run[steps] for run in runs) for steps in runs[0]}
    following = [rate for steps, rate in middle.items() if steps > first(middle)][:5]
    cells = (
        task,
        f"{first(middle):,}",
        ", ".join(f"{steps:,}" for steps in sorted(map(first, runs))),
        f"{fmean(following):.2f}",
        f"{max(runs[0]):,}",
        last_ten(runs),
        last_ten(long) if long else "",
    )
    assert f"| {' | '.join(cells)} |" in (ROOT / "docs" / "mher_plus.md").read_text()


def test_the_table_of_rivals_is_that_of_the_results():
    found = {
        key: [{point.env_steps: point.success_rate for point in run} for run in runs]
        for key, runs in compared.read_curves().items()
    }
    text = (ROOT / "docs" / "results.md").read_text()
    header, _, *lines = text[text.index("| task | steps | `mher_plus` |") :].split("\n\n")[0].splitlines()
    methods = [cell.strip(" `") for cell in header.strip("|").split("|")[2:]]
    assert len(lines) == len(curves())
    for line in lines:
        task, steps, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        assert cells == [rival(found.get((task, method)), int(steps.replace(",", ""))) for method in methods], task


def rival(runs: list[Curve] | None, steps: int) -> str:
    """The median success rate after these steps, and in brackets when the median first is 0.95."""
    if runs is None:
        return ""
    assert len(runs) == 5
    middle = {step: median(run[step] for run in runs) for step in runs[0]}
    rates = [rate for step, rate in middle.items() if step <= steps]
    reached = [f" ({step:,})" for step, rate in middle.items() if rate > 0.949]
    return (f"{rates[-1]:.2f}" if rates else "-") + (reached[0] if reached else "")
