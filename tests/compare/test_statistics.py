import math

import numpy as np
import pytest

from mher_pl.compare.statistics import (
    area_under_curve,
    probability_of_improvement,
    steps_to_success,
    stratified_iqm,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 3.0), ([0, 1, 5], 2.0), ([0, 1, 2, 100], 1.5), ([0, 1, 2, 3, 100], 2.0), ([0, 0, 2, 3, 4, 5, 9, 99], 3.5)],
)
def test_the_interquartile_mean_is_the_mean_of_the_middle_half(values, expected):
    assert stratified_iqm([np.random.default_rng(0).permutation(values)]).value == pytest.approx(expected)


def test_the_interval_is_that_of_a_percentile_bootstrap_drawn_by_hand():
    rng = np.random.default_rng(1)
    scores = rng.random(9)
    resamples = np.sort(rng.choice(scores, (20_000, 9)), axis=1)[:, 2:7].mean(axis=1)
    estimate = stratified_iqm([scores])
    assert estimate.value == pytest.approx(np.sort(scores)[2:7].mean())
    assert (estimate.low, estimate.high) == pytest.approx(np.percentile(resamples, [2.5, 97.5]), abs=0.02)


def test_seeds_are_resampled_within_their_task():
    # Each task is certain, so every resample is the same; across tasks it would range from 0 to 1.
    assert stratified_iqm([[0.0] * 5, [1.0] * 5]) == pytest.approx((0.5, 0.5, 0.5))


def test_tasks_with_fewer_seeds_weigh_as_much_as_others():
    assert stratified_iqm([[1.0] * 10, [0.0] * 3]) == pytest.approx((0.5, 0.5, 0.5))


def test_the_same_scores_give_the_same_interval_again():
    scores = np.random.default_rng(2).random(5)
    assert stratified_iqm([scores]) == stratified_iqm([scores])


def test_one_seed_has_no_interval():
    estimate = stratified_iqm([[0.75], [0.25, 0.25]])
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_the_area_weighs_success_by_environment_steps():
    assert area_under_curve([100, 200, 400], [0.0, 1.0, 1.0]) == pytest.approx((50 + 200) / 300)
    assert area_under_curve([100], [0.25]) == 0.25


def test_steps_to_success_are_those_of_the_first_evaluation_that_reaches_it():
    assert steps_to_success([10, 20, 30, 40], [0.5, float(np.float32(0.95)), 0.25, 1.0]) == 20
    assert steps_to_success([10, 20], [0.94, 0.949]) == math.inf


def test_the_probability_of_improvement_counts_pairs_of_seeds_and_a_tie_as_a_half():
    one, other = [0.9, 0.5], [0.5, 0.1, 0.9]
    assert probability_of_improvement([(one, other)]).value == pytest.approx((2 + 0.5 + 1 + 0.5) / 6)
    both = probability_of_improvement([(one, other), ([1.0], [0.0])])
    assert both.value == pytest.approx((4 / 6 + 1) / 2)
    assert math.isnan(both.low), "one seed has no interval"


def test_the_interval_of_the_probability_of_improvement_is_drawn_from_both_methods_seeds():
    rng = np.random.default_rng(3)
    one, other = rng.random(6), rng.random(5) - 0.2
    draws = rng.choice(one, (20_000, 6))[:, :, None] > rng.choice(other, (20_000, 5))[:, None, :]
    estimate = probability_of_improvement([(one, other)])
    assert (estimate.low, estimate.high) == pytest.approx(np.percentile(draws.mean(axis=(1, 2)), [2.5, 97.5]), abs=0.04)
