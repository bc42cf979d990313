"""The table of all methods in docs/methods.md, and the curves on their pages, each page's beside MHER and HER.

    python benchmarks/method_figures.py

makes them of the kept runs of the paper's figures.
"""

import statistics
from pathlib import Path

import numpy as np
from output import replace_between

from mher_pl.compare.figure import Curve, draw_curves
from mher_pl.compare.kept import KeptRuns, read_kept
from mher_pl.compare.panels import common_epochs
from mher_pl.compare.statistics import area_under_curve, steps_to_success, stratified_iqm
from mher_pl.compare.sweep_file import read_sweep

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "paper" / "curves.csv"
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
TASKS = {"point2d": "Point2DLarge", "fetch": "FetchReach"}
PAGES = {  # figure: the methods that it shows beside MHER and HER
    "mher": [],  # HER's page has it too
    "ablations": ["no_sl", "no_mbr"],
    "cher": ["cher"],
    "mep": ["mep"],
    "gcsl": ["gcsl"],
    "ddpg": ["ddpg"],
    "controls": ["goal_noise", "random_goals"],
    "mve": ["mve", "mve_her"],
    "mbpo": ["mbpo", "mbpo_her"],
    "mapgo": ["mapgo"],
    "plangan": ["plangan"],
}
LAST = 5  # evaluations whose mean is where a curve ends


def methods() -> list[str]:
    """Return the methods of the table, in its order."""
    sweep = read_sweep(ROOT / "configs" / "sweeps" / "all_methods.yaml")
    return [method.name for method in next(iter(sweep.panels.values())).curves.values()]


def seeds_of(kept: KeptRuns, task: str, method: str) -> KeptRuns:
    """Return a method's runs on a task."""
    return {name: curve for name, curve in kept.items() if name.startswith(f"{task}/{method}/")}


def cells(kept: KeptRuns, task: str, method: str) -> list[str]:
    """Return what the table says of a method on a task: the end of its curve, its mean height, the steps to 95 %."""
    curves = [
        ([point.env_steps for point in curve], [point.success_rate for point in curve])
        for curve in seeds_of(kept, task, method).values()
    ]
    end = statistics.median(statistics.fmean(rates[-LAST:]) for _, rates in curves)
    area = stratified_iqm([[area_under_curve(*curve) for curve in curves]])
    steps = [steps_to_success(*curve) for curve in curves]
    reached = sum(map(np.isfinite, steps))
    median = statistics.median(steps)
    return [
        f"{end:.2f}",
        f"{area.value:.2f} [{area.low:.2f}, {area.high:.2f}]",
        f"{median:,.0f} ({reached} of {len(steps)})" if np.isfinite(median) else f"- ({reached} of {len(steps)})",
    ]


def table() -> str:
    """Return the table of all methods."""
    kept = read_kept(KEPT)
    header = ["method", *(f"{task}: {what}" for task in TASKS.values() for what in ("end", "mean", "steps to 95 %"))]
    rows = [[f"`{name}`", *(cell for task in TASKS for cell in cells(kept, task, name))] for name in methods()]
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")


def curve(kept: KeptRuns, task: str, method: str) -> Curve:
    """Return the epochs and the success rates [seed, E] of a method."""
    return common_epochs(list(seeds_of(kept, task, method).values()))


def main() -> None:
    """Write the table and draw all figures."""
    replace_between(ROOT / "docs" / "methods.md", BEGIN, END, table())
    kept = read_kept(KEPT)
    for name, shown in PAGES.items():
        panels = {task: {method: curve(kept, task, method) for method in ("mher", "her", *shown)} for task in TASKS}
        panels = {TASKS[task]: curves for task, curves in panels.items()}
        draw_curves(panels, [25]).savefig(KEPT.parent / "methods" / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main()
