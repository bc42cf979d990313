"""The tables of a report: an algorithm on a task, over all tasks, and beside another algorithm."""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mher_pl.compare.runs import Run
from mher_pl.compare.statistics import (
    area_under_curve,
    probability_of_improvement,
    steps_to_success,
    stratified_iqm,
)

Groups = dict[tuple[str, str], list[Run]]  # by task and algorithm: one run per seed, of equal length


class SummaryRow(NamedTuple):
    """One line of summary.csv: one algorithm on one task. "Final" is the evaluation after the last epoch."""

    task: str
    algorithm: str
    seeds: int
    episodes: int  # of each evaluation, the fewest where seeds differ
    median_final_success: float
    iqm_final_success: float
    iqm_low: float  # 95 % bootstrap interval over seeds
    iqm_high: float
    area_under_curve: float  # interquartile mean over seeds
    area_low: float
    area_high: float
    env_steps_to_95: float  # median over seeds, infinite (an empty cell) where half of them or more never get there
    seeds_reaching_95: int


class OverallRow(NamedTuple):
    """One line of overall.csv: one algorithm over all tasks, bootstrapped within tasks."""

    algorithm: str
    tasks: int
    runs: int
    episodes: int
    iqm_final_success: float
    iqm_low: float
    iqm_high: float


class ImprovementRow(NamedTuple):
    """One line of improvement.csv: how probably a run of one algorithm ends above one of another, on the same task."""

    algorithm: str
    other: str
    tasks: int  # on which both have runs
    runs: int  # of the one
    other_runs: int
    episodes: int
    probability: float  # mean over tasks; ties count a half
    low: float  # 95 % bootstrap interval over seeds, within tasks
    high: float


def summarise(task: str, algorithm: str, members: list[Run]) -> SummaryRow:
    """Summarise the seeds of one algorithm on one task."""
    final = _finals(members)
    curves = [([p.env_steps for p in run.curve], [p.success_rate for p in run.curve]) for run in members]
    steps = [steps_to_success(*curve) for curve in curves]
    return SummaryRow(
        task,
        algorithm,
        len(members),
        _episodes(members),
        float(np.median(final)),
        *stratified_iqm([final]),
        *stratified_iqm([[area_under_curve(*curve) for curve in curves]]),
        float(np.median(steps)),
        sum(map(math.isfinite, steps)),
    )


def summarise_tasks(groups: Groups) -> list[OverallRow]:
    """Summarise over tasks the algorithms that have runs on every one; nothing where there is one task only."""
    tasks = list(dict.fromkeys(task for task, _ in groups))
    rows = []
    for algorithm in dict.fromkeys(algorithm for _, algorithm in groups):
        strata = [
            [run.curve[-1].success_rate for run in groups[task, algorithm]]
            for task in tasks
            if (task, algorithm) in groups
        ]
        if len(tasks) > 1 and len(strata) == len(tasks):
            members = [run for task in tasks for run in groups[task, algorithm]]
            rows.append(OverallRow(algorithm, len(tasks), len(members), _episodes(members), *stratified_iqm(strata)))
    return rows


def compare(groups: Groups, order: list[str]) -> list[ImprovementRow]:
    """Compare every two algorithms, those of `order` first, over the tasks on which both have runs."""
    algorithms = sorted({algorithm for _, algorithm in groups}, key=lambda name: rank(name, order))
    rows = []
    for algorithm, other in combinations(algorithms, 2):
        pairs = [
            (members, groups[task, other])
            for (task, name), members in groups.items()
            if name == algorithm and (task, other) in groups
        ]
        if pairs:
            one, two = ([run for members in side for run in members] for side in zip(*pairs, strict=True))
            estimate = probability_of_improvement([(_finals(mine), _finals(theirs)) for mine, theirs in pairs])
            rows.append(
                ImprovementRow(algorithm, other, len(pairs), len(one), len(two), _episodes([*one, *two]), *estimate)
            )
    return rows


def _finals(members: list[Run]) -> list[float]:
    return [run.curve[-1].success_rate for run in members]


def _episodes(members: list[Run]) -> int:
    return min(run.episodes for run in members)


def rank(name: str, order: list[str]) -> tuple[int, str]:
    """Sort names that are one of `order`, or else start with one, first, in that order, and others by the alphabet."""
    known = [name] if name in order else [start for start in order if name.startswith(start)]
    return order.index(known[0]) if known else len(order), name
