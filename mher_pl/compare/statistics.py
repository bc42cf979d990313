"""What a handful of seeds says: interquartile means, improvements, areas, and steps to a success rate.

The intervals come from SciPy's bootstrap in place of rliable, which cannot be imported with pandas 3: rliable 1.2 needs
arch below 8, and arch 7.2 fails there with a TypeError (with pandas 2.3 it works).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
RESAMPLES = 5000


class Estimate(NamedTuple):
    """A statistic and its bootstrap interval, which is NaN where a stratum has a single seed."""

    value: float
    low: float
    high: float


def stratified_iqm(strata: Sequence[ArrayLike]) -> Estimate:
    """Estimate the interquartile mean of all strata's seeds together, with a percentile interval at 95 %.

    Of n seeds floor(n / 4) are cut at each end, so none of 3 or fewer. Seeds are resampled within their stratum (a
    task), so that every resample holds every task (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the
    Statistical Precipice"). A stratum with fewer seeds weighs as much as another one. One stratum gives the ordinary
    bootstrap.

    Args:
        strata: one sequence of the seeds' scores per stratum.
    """
    scores = [np.asarray(stratum, dtype=float) for stratum in strata]
    shares = np.concatenate([np.full(len(seeds), 1.0 / len(seeds)) for seeds in scores]) / len(scores)
    cut = len(shares) // 4 / len(shares)  # of all at each end

    def iqm(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        joined = np.concatenate(samples, axis=-1)  # [..., seed]
        order = joined.argsort(axis=-1)
        upto = shares[order].cumsum(axis=-1)
        kept = (upto.clip(max=1.0 - cut) - (upto - shares[order]).clip(min=cut)).clip(min=0.0)
        return (np.take_along_axis(joined, order, axis=-1) * kept).sum(axis=-1) / kept.sum(axis=-1)

    return _with_interval(float(iqm(*scores)), scores, iqm)


def probability_of_improvement(strata: Sequence[tuple[ArrayLike, ArrayLike]]) -> Estimate:
    """Estimate how probably a run of one method ends above a run of another on the same task, ties counting a half.

    It is the mean over tasks of the Mann-Whitney statistic (Agarwal et al. 2021), 0.5 where neither is the better,
    with a percentile interval at 95 % from seeds that are resampled within each method and task.

    Args:
        strata: per task the seeds' scores of the one and of the other method.
    """
    scores = [np.asarray(sample, dtype=float) for pair in strata for sample in pair]

    def probability(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        pairs = zip(samples[::2], samples[1::2], strict=True)
        differences = [np.sign(one[..., :, None] - other[..., None, :]) for one, other in pairs]  # [..., seed, seed]
        return np.mean([0.5 + 0.5 * difference.mean(axis=(-2, -1)) for difference in differences], axis=0)

    return _with_interval(float(probability(*scores)), scores, probability)


def _with_interval(value: float, samples: list[np.ndarray], statistic: Callable) -> Estimate:
    """Bootstrap the interval of a statistic of several samples, each resampled on its own."""
    from scipy.stats import bootstrap

    if min(map(len, samples)) < 2:
        return Estimate(value, math.nan, math.nan)
    # The fixed seed makes a report of the same runs the same report.
    interval = bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=0,
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def area_under_curve(env_steps: Sequence[int], success_rates: Sequence[float]) -> float:
    """Return the mean height of the curve, in [0, 1]: its trapezoids' area from the first to the last evaluation."""
    if len(env_steps) == 1:
        return float(success_rates[0])
    return float(np.trapezoid(success_rates, env_steps) / (env_steps[-1] - env_steps[0]))


def steps_to_success(env_steps: Sequence[int], success_rates: Sequence[float]) -> float:
    """Return the environment steps at the first evaluation that reaches 95 %; infinity if none does."""
    # Rates are means of 0 and 1 stored in 32 bits: 95 of 100 successes read back as 0.949999988.
    reached = [steps for steps, rate in zip(env_steps, success_rates, strict=True) if rate >= 0.95 - 1e-6]
    return float(reached[0]) if reached else math.inf
