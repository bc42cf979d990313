"""What the paper's text claims of its experiments, against the curves in `benchmarks/results/paper`.

    python benchmarks/claims.py

writes the table into docs/claims.md. What learns faster is told by the mean success rate over all epochs at which both
were evaluated, the area under the learning curve; differences are of its mean over seeds, with 95 % bootstrap intervals
over seeds.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from output import replace_between
from scipy.stats import bootstrap

from mher_pl.compare.kept import read_kept
from mher_pl.compare.sweep_file import read_sweep

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- claims: begin -->\n", "<!-- claims: end -->\n"
TASKS = {
    "point2d": "Point2DLarge",
    "four_room": "Point2DFourRoom",
    "fetch": "FetchReach",
    "sawyer": "SawyerReachXYZ",
    "reacher": "Reacher",
}
FEWEST_SEEDS = 3
NEAR = 0.1  # areas that differ by less are near each other
LAST = 5  # evaluations whose mean is where a curve ends
ALPHA, STEPS, LAYERS = "mher-imitation_weight-", "mher-steps-", "mher-hidden_sizes-"

Curves = dict[tuple[str, str], np.ndarray]  # by task and method: success rates [seed, epoch], NaN without evaluation


class Claim(NamedTuple):
    """A claim: what the text says, its tasks, and what must hold on each.

    `a > b`: a has the larger area; `a ~ b`: the areas differ by less than `NEAR`; `a >~ b`: one of both;
    `a ends < 0.5`: the mean of the last evaluations.
    """

    text: str
    tasks: tuple[str, ...]
    relations: tuple[str, ...]


CLAIMS = [
    Claim(
        "MHER learns faster than HER, CHER, MEP, GCSL and DDPG (5.2)",
        tuple(TASKS),
        tuple(f"mher > {name}" for name in ("her", "cher", "mep", "gcsl", "ddpg")),
    ),
    Claim(
        "DDPG learns slowly in all environments; HER, CHER and MEP are effective (5.2)",
        tuple(TASKS),
        ("her > ddpg", "cher > ddpg", "mep > ddpg"),
    ),
    Claim("GCSL is very close to DDPG on Reacher (5.2)", ("reacher",), ("gcsl ~ ddpg",)),
    Claim("GCSL is far above DDPG on SawyerReachXYZ (5.2)", ("sawyer",), ("gcsl > ddpg",)),
    Claim(
        "Of alpha = 0, 1, 3, 5, 7, alpha = 3 is best (5.2, B.3)",
        ("reacher", "sawyer"),
        ("mher > no_sl", *(f"mher > {ALPHA}{value}" for value in ("1.0", "5.0", "7.0"))),
    ),
    Claim(
        "Of n = 0, 1, 3, 5, 7, n = 5 is best (5.2, B.3)",
        ("reacher", "sawyer"),
        tuple(f"mher > {STEPS}{value}" for value in (0, 1, 3, 7)),
    ),
    Claim(
        "MVE and MBPO contribute little; MHER is far above (5.3)",
        ("point2d", "sawyer", "fetch"),
        ("mher > mve", "mher > mbpo", "mve ~ ddpg", "mbpo ~ ddpg"),
    ),
    Claim(
        "Model-based relabelling alone (no SL) learns faster than HER (5.5)",
        ("point2d", "fetch", "reacher", "sawyer", "four_room"),
        ("no_sl > her",),
    ),
    Claim(
        "Model-based relabelling matters more than the supervised loss (5.5)",
        ("point2d", "fetch", "reacher", "sawyer", "four_room"),
        ("no_sl > no_mbr",),
    ),
    Claim(
        "The supervised loss alone (no MBR) does not get to 100 % on Point2DLarge (5.5)",
        ("point2d",),
        ("no_mbr ends < 0.98",),
    ),
    Claim(
        "The supervised loss alone (no MBR) learns very slowly and fails (5.5, B.4)",
        ("fetch", "reacher"),
        ("no_mbr ends < 0.5",),
    ),
    Claim(
        "Both together are better than each alone (5.5)",
        ("point2d", "fetch", "reacher", "sawyer", "four_room"),
        ("mher > no_sl", "mher > no_mbr"),
    ),
    Claim(
        "MHER is comparable to PlanGAN or better, which needs far more computation (5.3, B.1)",
        ("point2d", "fetch"),
        ("mher >~ plangan",),
    ),
    Claim(
        "MVE and MBPO work better with hindsight goals (B.1)",
        ("fetch", "sawyer"),
        ("mve_her > mve", "mbpo_her > mbpo"),
    ),
    Claim(
        "MVE and MBPO with hindsight goals stay below MHER (B.1)",
        ("fetch", "sawyer", "reacher"),
        ("mher > mve_her", "mher > mbpo_her"),
    ),
    Claim(
        "1 to 4 layers of the dynamics model perform alike (B.2)",
        ("fetch", "sawyer", "reacher"),
        tuple(f"{LAYERS}{'_'.join(['256'] * layers)} ~ mher" for layers in (1, 2, 3)),
    ),
    Claim("Noise on hindsight goals helps HER slightly (B.5)", ("fetch", "sawyer"), ("goal_noise > her",)),
    Claim("Noise on hindsight goals harms HER on Reacher (B.5)", ("reacher",), ("her > goal_noise",)),
    Claim(
        "Random goals do not work (B.5)",
        ("fetch", "sawyer", "reacher"),
        ("random_goals ends < 0.5", "her > random_goals"),
    ),
]


def read_curves() -> Curves:
    """Return the figures' curves."""
    kept = read_kept(RESULTS / "paper" / "curves.csv")
    epochs = max(point.epoch for curve in kept.values() for point in curve)
    curves: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for name, curve in kept.items():
        task, method, _ = name.split("/")
        rates_by_epoch = np.full(epochs, np.nan)
        rates_by_epoch[[point.epoch - 1 for point in curve]] = [point.success_rate for point in curve]
        curves[task, method].append(rates_by_epoch)
    return {key: np.array(rates) for key, rates in curves.items()}


def find_figures() -> dict[tuple[str, str], str]:
    """Return by task and method the first figure that it is in."""
    figures: dict[tuple[str, str], str] = {}
    for path in sorted((ROOT / "configs" / "sweeps").glob("figure_*.yaml")):
        for task, method in read_sweep(path).pairs:
            figures.setdefault((task.stem, method.name), path.stem)
    return figures


def interval(*samples: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of the seeds' scores, or the first's less the second's, with its 95 % interval."""

    def mean(*resampled: np.ndarray, axis: int = -1) -> np.ndarray:
        means = [sample.mean(axis=axis) for sample in resampled]
        return means[0] - means[1] if len(means) == 2 else means[0]

    value = float(mean(*samples))
    if all(np.ptp(sample) == 0 for sample in samples):  # seeds that all end alike
        return value, value, value
    limits = bootstrap(samples, mean, method="percentile", vectorized=True, rng=0).confidence_interval
    return value, float(limits.low), float(limits.high)


def methods_of(relation: str) -> list[str]:
    """Return the methods that a relation is about."""
    one, *verb, _, other = relation.split()
    return [one] if verb else [one, other]


def judge(relation: str, task: str, curves: Curves) -> tuple[str, str]:
    """Return what was measured of a relation, and whether it holds, or is open; nothing where a method has not run."""
    one, *verb, sign, other = relation.split()
    names = methods_of(relation)
    members = [curves.get((task, name), np.empty((0, 0))) for name in names]
    if min(map(len, members)) < FEWEST_SEEDS:
        return "", ""
    seeds = " : ".join(dict.fromkeys(str(len(rates)) for rates in members))
    evaluated = ~np.isnan(np.concatenate(members)).any(axis=0)
    members = [rates[:, evaluated] for rates in members]
    if verb:
        value, low, high = interval(members[0][:, -LAST:].mean(axis=1))
        held, refuted = high < float(other), low > float(other)
        text = f"{one} ends at {value:.2f} [{low:.2f}, {high:.2f}], {seeds} seeds"
    else:
        value, low, high = interval(*(rates.mean(axis=1) for rates in members))
        if sign == ">":
            held, refuted = low > 0, high < 0
        elif sign == ">~":
            held, refuted = low > -NEAR, high < -NEAR
        else:
            held, refuted = low > -NEAR and high < NEAR, low > NEAR or high < -NEAR
        text = f"{one} - {other}: {value:+.2f} [{low:+.2f}, {high:+.2f}], {seeds} seeds"
    return text, "held" if held else "not held" if refuted else "open"


def rows() -> list[tuple[str, str, str, str]]:
    """Return a row for each claim and task: the claim, the task, what was measured, and the verdict."""
    curves, figures = read_curves(), find_figures()
    found = []
    for claim in CLAIMS:
        for task in claim.tasks:
            judged = {relation: judge(relation, task, curves) for relation in claim.relations}
            measured = "; ".join(text for text, _ in judged.values() if text)
            counts = Counter(verdict for _, verdict in judged.values() if verdict)
            alone = counts.total() == max(counts.values(), default=0) == len(judged)
            parts = [word if alone else f"{number} {word}" for word, number in counts.items()]
            missing = [name for relation, (text, _) in judged.items() if not text for name in methods_of(relation)]
            lacking = dict.fromkeys(
                figures[task, name] for name in missing if len(curves.get((task, name), ())) < FEWEST_SEEDS
            )
            if lacking:
                parts.append(f"not measured yet: {', '.join(f'`{figure}`' for figure in lacking)}")
            measured = measured.replace(ALPHA, "alpha ").replace(STEPS, "n ") or "-"
            measured = re.sub(LAYERS + "256(_256)*", lambda sizes: f"layers {sizes[0].count('256')}", measured)
            found.append((claim.text, TASKS[task], measured, "; ".join(parts)))
    return found


def summary(found: list[tuple[str, str, str, str]]) -> str:
    """Return how many claims hold on all their tasks, in part, on none, and which are open."""
    verdicts: dict[str, set[str]] = defaultdict(set)
    for text, _, _, verdict in found:
        verdicts[text].add(verdict)
    kinds = {"held": "hold on all their tasks", "not held": "on none", "open": "are open"}
    words = [kinds.get(" and ".join(sorted(verdict)), "in part") for verdict in verdicts.values()]
    order = kinds["held"], "in part", kinds["not held"], kinds["open"]
    return f"Of {len(verdicts)} claims {', '.join(f'{words.count(word)} {word}' for word in order if word in words)}.\n"


def table(found: list[tuple[str, str, str, str]]) -> str:
    """Return the table, a claim's text at its first task alone."""
    lines = ["| claim (section) | task | measured | verdict |", "|---|---|---|---|"]
    last = ""
    for text, task, measured, verdict in found:
        lines.append(f"| {'' if text == last else text} | {task} | {measured} | {verdict} |")
        last = text
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    found = rows()
    text = f"{summary(found)}\n{table(found)}"
    replace_between(ROOT / "docs" / "claims.md", BEGIN, END, text)
    print(text)
