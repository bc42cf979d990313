import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import finite_problems as finite
import theory

HELD = ["Lemma 1", "Lemma 1 with half the constant", "Theorem 1", "Theorem 2", "Theorem 3 with T + 1 for T"]
DETERMINISTIC = np.array([[[0.0, 1.0]], [[0.0, 1.0]]])  # one action, which leads to state 1
STAYING = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
ONE_ACTION = np.ones((2, 1))
START = np.array([1.0, 0.0])


def test_distributions_of_states_are_those_worked_out_by_hand():
    assert finite.visits(START, DETERMINISTIC, ONE_ACTION, 2).tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    assert np.allclose(finite.occupancy(START, DETERMINISTIC, ONE_ACTION, 0.9), [1.0, 9.0])


def test_the_error_of_a_model_is_that_where_the_policy_goes():
    states = finite.visits(START, DETERMINISTIC, ONE_ACTION, 1)
    assert finite.model_error(states, ONE_ACTION, DETERMINISTIC, STAYING) == 1.0
    assert finite.model_error(states[1:], ONE_ACTION, DETERMINISTIC, STAYING) == 0.0  # both stay in state 1


def test_the_likelihood_bound_is_reached_by_a_policy_that_is_its_own_data_with_one_goal():
    arguments = START, DETERMINISTIC, DETERMINISTIC, np.array([1, 0]), np.array([1.0, 0.0])
    assert finite.likelihood_bound(*arguments, np.ones((2, 2, 1)), np.ones((2, 2, 1)), 3, 0.5) == 0.5**3


@pytest.mark.parametrize("name", HELD)
def test_a_statement_holds_on_random_problems(name):
    values, bounds = theory.check(name, 60, seed=1)
    assert not theory.violated(name, values, bounds).any()
    assert theory.violated(name, values + theory.STATEMENTS[name][2] * 1e6, bounds).all(), "the check can fail"


@pytest.mark.parametrize(
    ("name", "found"), theory.examples(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_counterexample_is_one(name, found):
    value, bound = found
    assert value < bound if name.startswith("Theorem 1") else value > bound


def test_a_larger_return_can_have_larger_distances():
    (more, farther), (less, nearer) = finite.theorem_2_is_no_equivalence()
    assert more > less
    assert farther > nearer
