"""Whether the paper's Lemma 1 and Theorems 1 to 3 hold on random finite problems, and how loose their bounds are.

python benchmarks/theory.py
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import finite_problems as finite
import numpy as np
from finite_problems import Array
from numpy.typing import NDArray
from output import Report

RESULTS = Path(__file__).parent / "results"

STATEMENTS = {
    "Lemma 1": (finite.lemma_1, "bound", 1.0),
    "Lemma 1 with half the constant": (finite.lemma_1, "half", 1.0),
    "Theorem 1": (finite.theorem_1, "bound", -1.0),
    "Theorem 2": (finite.theorem_2, "bound", 1.0),
    "Theorem 3": (finite.theorem_3, "bound", 1.0),
    "Theorem 3 with T + 1 for T": (finite.theorem_3, "mended", 1.0),
}  # what draws a problem, which bound of it, and whether that is above (1) or below (-1) what is bounded


def check(name: str, problems: int, seed: int) -> tuple[Array, Array]:
    """Return what a statement bounds and the bound, both [problems]."""
    draw, kind, _ = STATEMENTS[name]
    rng = np.random.default_rng(seed)
    pairs = [(found["value"], found[kind]) for found in (draw(rng) for _ in range(problems))]
    values, bounds = np.array(pairs).T
    return values, bounds


def violated(name: str, values: Array, bounds: Array) -> NDArray[np.bool_]:
    """Tell on which problems a statement fails, by more than rounding."""
    return STATEMENTS[name][2] * (values - bounds) > 1e-9 * (1.0 + np.abs(bounds))


def examples() -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the counterexamples to bounds."""
    yield "Theorem 1, data of another policy", finite.theorem_1_with_data_of_another_policy()
    yield "Theorem 2, a threshold of 2 on the norm", finite.theorem_2_with_a_norm_above_1()
    yield "Theorem 3, never at the goal", finite.theorem_3_never_at_the_goal()


def draw_figure(found: dict[str, tuple[Array, Array]], path: Path) -> None:
    """Draw what is bounded against its bound, a panel for each statement of the paper."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = ["Lemma 1", "Theorem 1", "Theorem 2", "Theorem 3"]
    figure, axes = plt.subplots(1, len(names), figsize=(14, 3.6), constrained_layout=True)
    for axis, name in zip(axes, names, strict=True):
        values, bounds = found[name]
        wrong = violated(name, values, bounds)
        axis.scatter(bounds[~wrong], values[~wrong], s=3, alpha=0.4, label="holds")
        axis.scatter(bounds[wrong], values[wrong], s=8, color="tab:red", label="does not hold")
        if name == "Theorem 1":
            axis.set_xscale("symlog", linthresh=1.0)
        else:
            axis.set_xscale("log")
            axis.set_yscale("log")
        equal = np.geomspace(max(values.min(), 1e-4), values.max())
        axis.plot(equal, equal, color="black", linewidth=1, label="equal")
        axis.set(title=name, xlabel="bound, from below" if name == "Theorem 1" else "bound, from above")
        axis.legend(fontsize=7)
    axes[0].set_ylabel("what is bounded")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=5000, help="random problems for each statement")
    parser.add_argument("--out", type=Path, default=RESULTS / "theory.json")
    args = parser.parse_args()
    report = Report(args.out, problems=args.problems)
    found = {name: check(name, args.problems, seed=0) for name in STATEMENTS}
    rows = {}
    for name, (values, bounds) in found.items():
        ratios = values / bounds if STATEMENTS[name][2] > 0.0 else None  # of bounds that are above 0, all of them
        rows[name] = {
            "problems": args.problems,
            "fails": int(violated(name, values, bounds).sum()),
            "median of value / bound": None if ratios is None else float(np.median(ratios)),
            "largest": None if ratios is None else float(ratios.max()),
            "bound above 0": float((bounds > 0.0).mean()),
        }
    report.values |= {"statements": rows}
    report.table("Lemma 1 and Theorems 1 to 3 on random finite problems.", "statement", rows)
    counter = {name: {"what is bounded": one, "bound": other} for name, (one, other) in examples()}
    report.values |= {"counterexamples": counter}
    report.table("Counterexamples to statements as the paper has them.", "statement", counter)
    draw_figure(found, args.out.with_suffix(".png"))
    report.write()


if __name__ == "__main__":
    main()
