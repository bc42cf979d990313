"""Small goal environments, each with one property of real ones; `goal_tasks:Ends-v0` names one from anywhere."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

STEPS = 12  # of an episode, at most
STRIDE = 0.25  # of a step along each axis


def within(radius: float, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """Tell which goals [..., goal] are no further than `radius` from others."""
    return np.sqrt(np.square(achieved - desired).sum(axis=-1)) <= radius


class GoalTask(gym.Env):
    """What the tasks share: a subclass has a state, moves it, and says what it shows and where it is to be."""

    def __init__(self, observation: spaces.Box, goal: spaces.Box, actions: spaces.Box) -> None:
        self.observation_space = spaces.Dict(observation=observation, achieved_goal=goal, desired_goal=goal)
        self.action_space = actions
        self.episode = -1

    def begin(self) -> None:
        """Put the state at the start and draw a goal."""
        raise NotImplementedError

    def move(self, action: np.ndarray) -> None:
        """Change the state."""
        raise NotImplementedError

    def look(self) -> tuple[Any, Any, Any]:
        """Return observation, achieved and desired goal."""
        raise NotImplementedError

    def judge(self, reward: float) -> tuple[float, bool, bool]:
        """Return what the step gives, whether it ends the episode and whether it counts as a success."""
        return reward, False, reward == 0.0

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        """Return 0 at the goal and -1 elsewhere."""
        return within(0.3, achieved, desired).astype(np.float32) - np.float32(1.0)

    def _seen(self) -> dict[str, np.ndarray]:
        entries = zip(("observation", "achieved_goal", "desired_goal"), self.look(), strict=True)
        return {key: np.array(value, dtype=self.observation_space[key].dtype) for key, value in entries}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.steps = self.episode + 1, 0
        self.begin()
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        self.move(np.asarray(action, dtype=float))
        seen = self._seen()
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        reward, terminated, success = self.judge(reward)
        return seen, reward, terminated, False, {"is_success": success}


class Slide(GoalTask):
    """A point in [-1, 1]^2 that is to come within 0.3 of a goal.

    Args:
        ends: whether the episode ends at the goal.
        edge: whether it fails at the square's edge.
        effort: cost of a squared action, which `compute_reward` knows nothing of.
        rewards: away from the goal, and at it.
        radius: distance at which the goal counts as reached.
    """

    def __init__(
        self,
        ends: bool = False,
        edge: bool = False,
        effort: float = 0.0,
        rewards: tuple[float, float] = (-1.0, 0.0),
        radius: float = 0.3,
    ) -> None:
        plane = spaces.Box(-1.0, 1.0, (2,))
        super().__init__(plane, plane, spaces.Box(-1.0, 1.0, (2,)))
        self.ends, self.edge, self.effort, self.rewards, self.radius = ends, edge, effort, rewards, radius

    def begin(self):
        self.at, self.goal = np.zeros(2), self.np_random.uniform(-0.7, 0.7, 2)

    def move(self, action):
        self.at, self.cost = np.clip(self.at + STRIDE * action, -1.0, 1.0), self.effort * float(action @ action)

    def look(self):
        return self.at, self.at, self.goal

    def compute_reward(self, achieved, desired, info):
        away, at_goal = self.rewards
        return np.where(within(self.radius, achieved, desired), at_goal, away).astype(np.float32)

    def judge(self, reward):
        reached, failed = bool(reward > np.mean(self.rewards)), self.edge and bool((np.abs(self.at) == 1.0).any())
        return self.rewards[reached] - self.cost, failed or (self.ends and reached), reached


class Stricter(gym.Wrapper):
    """A wrapper that rewards, and calls a success, what comes within 0.05 alone."""

    def compute_reward(self, achieved, desired, info):
        return within(0.05, achieved, desired).astype(np.float32) - np.float32(1.0)

    def step(self, action):
        seen, _, terminated, truncated, info = self.env.step(action)
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        return seen, reward, terminated, truncated, info | {"is_success": reward == 0.0}


class Heading(GoalTask):
    """A direction to turn to. Goals are unit vectors: the vector of zeros is none, and not even at itself."""

    def __init__(self) -> None:
        circle = spaces.Box(-1.0, 1.0, (2,))
        super().__init__(circle, circle, spaces.Box(-1.0, 1.0, (1,)))

    def begin(self):
        self.angle, self.goal = self.np_random.uniform(-3.0, 3.0, 2)

    def move(self, action):
        self.angle += 0.6 * action[0]

    def look(self):
        directions = [[np.cos(angle), np.sin(angle)] for angle in (self.angle, self.goal)]
        return directions[0], *directions

    def compute_reward(self, achieved, desired, info):
        return ((achieved * desired).sum(axis=-1) > 0.9).astype(np.float32) - np.float32(1.0)


class Lift(GoalTask):
    """A hand that closes around an object late: observation (hand, x, y, height), goal (x, y, height).

    Before, the object is at height 0, and so is the hand's entry.

    Args:
        closes: step at which the hand closes, and from which on the object can rise.
        from_episode: first episode of a copy in which it does.
    """

    def __init__(self, closes: int = 25, from_episode: int = 0) -> None:
        space, goal = (spaces.Box(-9.0, 9.0, (size,)) for size in (4, 3))
        super().__init__(space, goal, spaces.Box(-1.0, 1.0, (3,)))
        self.closes, self.from_episode = closes, from_episode

    def begin(self):
        self.hand, self.place = 0.0, np.zeros(3)
        self.goal = [*self.np_random.uniform(-0.5, 0.5, 2), 0.3]

    def move(self, action):
        self.place[:2] += 0.1 * action[:2]
        if self.steps >= self.closes and self.episode >= self.from_episode:
            self.hand = 1.0
            self.place[2] += 0.1 * abs(action[2])

    def look(self):
        return [self.hand, *self.place], self.place, self.goal


class Steered(Slide):
    """`Slide` with other actions, of which the lowest moves by -1 and the highest by 1.

    Args:
        kind: `integers`, `ternary`, `uneven`, `unbounded` or `half bounded`.
    """

    SPACES: ClassVar[dict[str, spaces.Box]] = {
        "integers": spaces.Box(0, 8, (2,), np.int64),
        "ternary": spaces.Box(-1, 1, (2,), np.int8),
        "uneven": spaces.Box(np.array([0.0, -3.0]), np.array([1.0, 9.0]), dtype=np.float64),
        "unbounded": spaces.Box(-np.inf, np.inf, (2,)),
        "half bounded": spaces.Box(np.float32([-1.0, -1.0]), np.float32([1.0, np.inf])),
    }

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.action_space = self.SPACES[kind]

    def step(self, action):
        assert np.asarray(action).dtype == self.action_space.dtype
        return super().step(action)

    def move(self, action):
        low, high = self.action_space.low.astype(float), self.action_space.high.astype(float)
        super().move(2.0 * (action - low) / (high - low) - 1.0)


class Pushed(Slide):
    """A hand that takes a block along while it is near: observation (hand, block), goal (block); ends at the goal."""

    def __init__(self) -> None:
        super().__init__(ends=True)
        self.observation_space["observation"] = spaces.Box(-1.0, 1.0, (4,))

    def begin(self):
        super().begin()
        self.block = self.np_random.uniform(-0.7, 0.7, 2)

    def move(self, action):
        before = self.at
        super().move(action)
        if within(self.radius, before, self.block):
            self.block = self.block + self.at - before

    def look(self):
        return [*self.at, *self.block], self.block, self.goal


class Moves(Slide):
    """Reaching the goal moves it: what the step shows is already the next one."""

    def step(self, action):
        seen, reward, terminated, truncated, info = super().step(action)
        if info["is_success"]:
            self.goal = self.np_random.uniform(-0.7, 0.7, 2)
            seen = self._seen()
        return seen, reward, terminated, truncated, info


class Configured(Slide):
    """Takes its settings as a dict."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__(**(config or {}))


class Map(Slide):
    """Float64 metres so far from the map's origin that float32 numbers are half a metre apart."""

    def __init__(self, origin: float = 5e6) -> None:
        super().__init__()
        self.origin = origin
        world = spaces.Box(-1e7, 1e7, (2,), np.float64)
        self.observation_space = spaces.Dict(observation=world, achieved_goal=world, desired_goal=world)

    def look(self):
        return tuple(self.origin + place for place in super().look())


class Bytes(Slide):
    """Everything in whole pixels of a picture of 100 x 100."""

    def __init__(self) -> None:
        super().__init__(radius=12.0)
        pixels = spaces.Box(0, 99, (2,), np.uint8)
        self.observation_space = spaces.Dict(observation=pixels, achieved_goal=pixels, desired_goal=pixels)

    def look(self):
        return tuple(np.floor(49.5 + 49.5 * place) for place in super().look())

    def compute_reward(self, achieved, desired, info):
        assert achieved.dtype == desired.dtype == np.uint8
        return super().compute_reward(achieved.astype(int), desired.astype(int), info)


class BatchOnly(Slide):
    """Rewards batches alone, and says nothing of success."""

    def compute_reward(self, achieved, desired, info):
        assert achieved.ndim == 2
        return super().compute_reward(achieved, desired, info)

    def step(self, action):
        self.move(np.asarray(action, dtype=float))
        seen = self._seen()
        (reward,) = self.compute_reward(seen["achieved_goal"][None], seen["desired_goal"][None], {})
        return seen, float(reward), False, False, {}


class Hidden(Slide):
    """An observation in other units than the goal's, so that the achieved goal is no part of it."""

    def look(self):
        return 0.5 - 0.5 * self.at, self.at, self.goal


class Reuses(Slide):
    """Writes every observation into the same arrays."""

    def _seen(self):
        new = super()._seen()
        self.arrays = getattr(self, "arrays", new)
        for key, values in new.items():
            self.arrays[key][:] = values
        return dict(self.arrays)


class Extra(Slide):
    """Shows an entry beside the three that is no array, such as the sensors of a robot."""

    def __init__(self, **settings):
        super().__init__(ends=True, **settings)
        sensors = spaces.Dict(touch=spaces.Box(0.0, 1.0, (2,)))
        self.observation_space = spaces.Dict({**self.observation_space.spaces, "sensors": sensors})

    def _seen(self):
        return super()._seen() | {"sensors": {"touch": np.zeros(2, dtype=np.float32)}}


class Cells(Slide):
    """Goals are whole numbers, what is achieved lies between them."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space.spaces["desired_goal"] = spaces.Box(-1, 1, (2,), np.int64)

    def begin(self):
        super().begin()
        self.goal = self.np_random.integers(-1, 2, 2)


TASKS = {
    "Plain": (Slide, {}),
    "Ends": (Slide, {"ends": True}),
    "Falls": (Slide, {"edge": True}),
    "Stricter": (lambda **kwargs: Stricter(Slide(**kwargs)), {}),
    "Heading": (Heading, {}),
    "Integers": (Steered, {"kind": "integers"}),
    "Ternary": (Steered, {"kind": "ternary"}),
    "Uneven": (Steered, {"kind": "uneven"}),
    "Unbounded": (Steered, {"kind": "unbounded"}),
    "HalfBounded": (Steered, {"kind": "half bounded"}),
    "Pushed": (Pushed, {}),
    "Moves": (Moves, {}),
    "Configured": (Configured, {}),
    "Map": (Map, {}),
    "Bytes": (Bytes, {}),
    "BatchOnly": (BatchOnly, {}),
    "Costly": (Slide, {"effort": 0.5}),
    "Tenfold": (Slide, {"rewards": (-10.0, 0.0)}),
    "PlusMinus": (Slide, {"rewards": (-1.0, 1.0)}),
    "OneZero": (Slide, {"rewards": (0.0, 1.0)}),
    "Tenths": (Slide, {"rewards": (-0.3, 0.1), "ends": True}),
    "Hidden": (Hidden, {}),
    "Reuses": (Reuses, {}),
    "Extra": (Extra, {}),
    "Cells": (Cells, {}),
}
for _name, (_entry_point, _kwargs) in TASKS.items():
    gym.register(f"{_name}-v0", entry_point=_entry_point, max_episode_steps=STEPS, kwargs=_kwargs)
gym.register("Lift-v0", entry_point=Lift, max_episode_steps=40)
