"""Random finite problems on which the paper's Lemma 1 and Theorems 1 to 3 can be computed exactly.

A problem is a start distribution, real dynamics, a model that is wrong by more or less, and policies. Distributions of
states are matrix products, infinite horizons linear equations, and for Theorem 1 all paths are enumerated. What a
statement bounds stands beside its bound.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


# What a problem and a policy give


def total_variation(one: Array, other: Array) -> Array:
    """Return half the sum of absolute differences over the last axis."""
    return 0.5 * np.abs(one - other).sum(axis=-1)


def visits(start: Array, dynamics: Array, policy: Array, horizon: int) -> Array:
    """Return the distributions of states [T+1, S] under a policy [S, A] in dynamics [S, A, S]."""
    chain = np.einsum("sa,san->sn", policy, dynamics)
    states = [start]
    for _ in range(horizon):
        states.append(states[-1] @ chain)
    return np.stack(states)


def occupancy(start: Array, dynamics: Array, policy: Array, discount: float) -> Array:
    """Return the discounted visits [S] of an infinite horizon, which sum to 1 / (1 - gamma)."""
    chain = np.einsum("sa,san->sn", policy, dynamics)
    return np.linalg.solve(np.eye(len(start)) - discount * chain.T, start)


def model_error(states: Array, policy: Array, real: Array, model: Array) -> float:
    """Return eps_m, the largest over time of the mean total variation where the policy [S, A] is and acts."""
    return float((states @ (policy * total_variation(real, model)).sum(axis=1)).max())


def value(states: Array, rewards: Array, discount: float) -> float:
    """Return the return of rewards [S] over the distributions of states [T+1, S]."""
    return float(discount ** np.arange(len(states)) @ (states @ rewards))


# Random problems


def distributions(rng: np.random.Generator, *shape: int) -> Array:
    """Draw distributions over the last axis, from nearly certain to nearly uniform ones."""
    return rng.dirichlet(np.full(shape[-1], 10.0 ** rng.uniform(-1.0, 1.0)), shape[:-1])


def near(rng: np.random.Generator, whole: Array) -> Array:
    """Mix distributions with others, whose share is drawn between 1 in 1000 and all."""
    share = 10.0 ** rng.uniform(-3.0, 0.0)
    return (1.0 - share) * whole + share * distributions(rng, *whole.shape)


def problem(rng: np.random.Generator, size: int, actions: int) -> tuple[Array, Array, Array]:
    """Draw initial states [S], dynamics [S, A, S] and a policy [S, A]."""
    return distributions(rng, size), distributions(rng, size, actions, size), distributions(rng, size, actions)


def lemma_1(rng: np.random.Generator) -> dict[str, float]:
    """Compare |J(pi_1) - J(pi_2)|, the second in the model, with 2 r_max sum gamma^t [t (eps_m + eps_pi) + eps_pi]."""
    size, actions, horizon, discount = (
        rng.integers(2, 8),
        rng.integers(2, 5),
        rng.integers(1, 50),
        rng.uniform(0.3, 1.0),
    )
    start, real, policy = problem(rng, size, actions)
    model, other = near(rng, real), near(rng, policy)
    rewards = rng.uniform(size=(size, actions))
    rewards /= rewards.max()  # r_max = 1
    states = visits(start, real, policy, horizon)
    one = value(states, (policy * rewards).sum(axis=1), discount)
    two = value(visits(start, model, other, horizon), (other * rewards).sum(axis=1), discount)
    eps_m = model_error(states[:-1], policy, real, model)
    eps_pi = float(total_variation(policy, other).max())
    time = np.arange(horizon + 1)
    bound = 2.0 * float(discount**time @ (time * (eps_m + eps_pi) + eps_pi))
    return {"value": abs(one - two), "bound": bound, "half": bound / 2.0}


def theorem_1(rng: np.random.Generator) -> dict[str, float]:
    """Compare J(pi) with -(n gamma^n / 2 sigma^2) L_SL + C_1 eps_m + C_2, the data being the policy's own.

    The Gaussian policy is one on a grid of actions. Its constant is bounded by the number of actions, and C_2 is the
    largest that the proof gives.
    """
    size, actions, goals, steps = 4, 3, int(rng.integers(1, 4)), int(rng.integers(1, 4))
    horizon, discount, sigma = steps + int(rng.integers(0, 10)), rng.uniform(0.3, 0.95), 10.0 ** rng.uniform(-0.5, 0.5)
    grid = np.linspace(-1.0, 1.0, actions)
    errors = (grid - rng.uniform(-1.0, 1.0, (goals, size, 1))) ** 2  # [G, S, A] of each action from the mean
    policy = np.exp(-errors / (2.0 * sigma**2))
    policy /= policy.sum(axis=2, keepdims=True)
    start, real = np.full(size, 1.0 / size), distributions(rng, size, actions, size)
    model, phi = near(rng, real), np.arange(size) % goals
    wanted = distributions(rng, goals)
    bound = likelihood_bound(
        start, real, model, phi, wanted, policy, policy, steps, discount, -errors / (2.0 * sigma**2)
    )
    constant = -(discount**steps) * steps * math.log(actions)
    returns = [
        value(visits(start, real, policy[goal], horizon), (phi == goal).astype(float), discount)
        for goal in range(goals)
    ]
    return {"value": float(wanted @ returns), "bound": bound + constant}


def likelihood_bound(
    start: Array,
    real: Array,
    model: Array,
    phi: NDArray[np.int64],
    wanted: Array,
    policy: Array,
    collecting: Array,
    steps: int,
    discount: float,
    scores: Array | None = None,
) -> float:
    """Return gamma^n (1 + E[sum log pi(a_t | s_t, g') + log p(g') - log pi_D(path)]) + C_1 eps_m of Theorem 1.

    The mean is over the paths of n steps of the collecting policy pi_D [G, S, A] in the model, relabelled with what
    they achieve at the end. That it bounds J comes from E[x] >= 1 + E[log x], for weights x of importance.

    Args:
        start: distribution [S].
        real: dynamics [S, A, S].
        model: dynamics [S, A, S].
        phi: goal that each state achieves [S].
        wanted: distribution of goals p(g) [G].
        policy: that is rated [G, S, A].
        collecting: pi_D.
        steps: n.
        discount: gamma.
        scores: in place of the logarithm of the policy [G, S, A].
    """
    with np.errstate(divide="ignore"):
        scores = np.log(policy) if scores is None else scores
        log_wanted = np.log(wanted)
    goals = len(wanted)
    paths, acts = np.broadcast_to(start, (goals, len(start))), np.ones((goals, len(start)))  # [G, S, A, S, A, ..., S]
    sums = np.zeros((goals, len(start)))
    for step in range(steps):
        at = (goals, *[1] * (2 * step), *policy.shape[1:])  # of what depends on goal, state and action
        chance = collecting.reshape(at)
        paths = (paths[..., None] * chance)[..., None] * model
        ones = np.ones(model.shape)
        acts = (acts[..., None] * chance)[..., None] * ones
        sums = (sums[..., None] + scores.reshape(at))[..., None] * ones
    chances = np.tensordot(wanted, paths, axes=1)  # of each path
    relabelled = np.stack([sums[phi[end], ..., end] + log_wanted[phi[end]] for end in range(len(start))], axis=-1)
    seen = chances > 0.0
    rated = relabelled[seen] - np.log(np.tensordot(wanted, acts, axes=1)[seen])
    likelihood = float(chances[seen] @ rated)
    # Pairs of goal and state: their mean error is the largest over time of the mean over goals.
    each = [
        visits(start, real, own, steps - 1) @ (own * total_variation(real, model)).sum(axis=1) for own in collecting
    ]
    eps_m = float((wanted @ np.stack(each)).max())
    return discount**steps * (1.0 + likelihood) - 2.0 * discount / (1.0 - discount) ** 2 * eps_m


def theorem_2(rng: np.random.Generator) -> dict[str, float]:
    """Compare ED_m(g) with -C_g J(pi) + (C_g + eps) / (1 - gamma) + 2 gamma eps_m C_g / (1 - gamma)^2."""
    size, actions, discount, threshold = (
        rng.integers(2, 8),
        rng.integers(2, 5),
        rng.uniform(0.3, 0.99),
        rng.uniform(0.0, 0.5),
    )
    start, real, policy = problem(rng, size, actions)
    model, (distance, largest) = near(rng, real), squared_distances(rng, size)
    expected = float(occupancy(start, model, policy, discount) @ distance)
    returns = float(occupancy(start, real, policy, discount) @ (distance <= threshold))
    # Of the first 500 steps: no larger than that of all, so the bound is no larger either.
    eps_m = model_error(visits(start, real, policy, 500), policy, real, model)
    error = 2.0 * discount * eps_m * largest / (1.0 - discount) ** 2
    return {"value": expected, "bound": -largest * returns + (largest + threshold) / (1.0 - discount) + error}


def theorem_3(rng: np.random.Generator) -> dict[str, float]:
    """Compare ED_m(g) of t = 0 ... T with -C_g J(pi) + (C_g + eps) T + 2 gamma eps_m C_g T^2, and with T + 1 for T."""
    size, actions, discount, threshold = (
        rng.integers(2, 8),
        rng.integers(2, 5),
        rng.uniform(0.3, 1.0),
        rng.uniform(0.0, 0.5),
    )
    horizon = int(rng.integers(1, 50))
    start, real, policy = problem(rng, size, actions)
    model, (distance, largest) = near(rng, real), squared_distances(rng, size)
    states = visits(start, real, policy, horizon)
    expected = value(visits(start, model, policy, horizon), distance, discount)
    returns = value(states, (distance <= threshold).astype(float), discount)
    error = 2.0 * discount * model_error(states[:-1], policy, real, model) * largest * horizon**2
    bound = -largest * returns + (largest + threshold) * horizon + error
    return {"value": expected, "bound": bound, "mended": bound + largest + threshold}


def squared_distances(rng: np.random.Generator, size: int) -> tuple[Array, float]:
    """Draw places in the unit square, and return their squared distances [S] to a goal, and the largest of any two."""
    places = rng.uniform(size=(size + 1, 2))
    squared = ((places[:, None] - places) ** 2).sum(axis=2)
    return squared[:-1, -1], float(squared.max())


# Where a statement as it stands in the paper fails: what it bounds, and the bound


def theorem_1_with_data_of_another_policy() -> tuple[float, float]:
    """Return J(pi) and its bound without a term for the distance between pi and the policy that collected the data.

    From the start, action 0 leads to the goal in the model and past it in truth, action 1 to the goal in both. The data
    have action 0 in 1 of 100 cases, the policy in 10.
    """
    start, phi, wanted = np.array([1.0, 0.0, 0.0]), np.array([1, 0, 1]), np.array([1.0, 0.0])
    real, model = np.zeros((3, 2, 3)), np.zeros((3, 2, 3))
    real[:, 0, 2] = real[:, 1, 1] = model[:, 0, 1] = model[:, 1, 1] = 1.0
    policy, collecting = (np.broadcast_to([share, 1.0 - share], (2, 3, 2)).copy() for share in (0.1, 0.01))
    returns = value(visits(start, real, policy[0], 1), (phi == 0).astype(float), 0.1)
    return returns, likelihood_bound(start, real, model, phi, wanted, policy, collecting, 1, 0.1)


def theorem_2_with_a_norm_above_1() -> tuple[float, float]:
    """Return ED_m(g) and its bound at a state whose distance to the goal, 2, is the threshold, not its square."""
    distance, threshold, discount = 2.0, 2.0, 0.9
    largest, returns = distance**2, 1.0 / (1.0 - discount)
    return distance**2 / (1.0 - discount), -largest * returns + (largest + threshold) / (1.0 - discount)


def theorem_2_is_no_equivalence() -> tuple[tuple[float, float], tuple[float, float]]:
    """Return J and ED of two policies, the first with the larger J and the larger ED.

    One stays at the goal or at distance 1, half and half; the other at distance 1/2, beyond the threshold.
    """
    visited = 1.0 / (1.0 - 0.9)
    return (0.5 * visited, 0.5 * visited), (0.0, 0.25 * visited)


def theorem_3_never_at_the_goal() -> tuple[float, float]:
    """Return ED_m(g) and its bound at one state, at the largest distance for T + 1 steps of which the bound has T."""
    horizon, discount, largest, threshold = 5, 0.99, 1.0, 0.01
    return largest * sum(discount**t for t in range(horizon + 1)), (largest + threshold) * horizon
