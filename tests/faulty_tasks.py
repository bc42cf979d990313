"""Small goal environments that go wrong, each in one way; `faulty_tasks:Breaks-v0` names one from anywhere."""

import gymnasium as gym
import numpy as np
from goal_tasks import STEPS, Slide


class Breaks(Slide):
    """Raises an error at a step of an episode of a copy; in a reset if the step is 0."""

    def __init__(self, episode: int, step: int) -> None:
        super().__init__()
        self.when = episode, step

    def look(self):
        if (self.episode, self.steps) == self.when:
            raise RuntimeError("the simulator\nlost its mind")
        return super().look()


class Torn(Slide):
    """Shows NaN from step 3 on in the copies made after the second: the first is inspected, the second trains.

    Args:
        strict: whether it raises an error at an action that is NaN.
    """

    made = 0

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.number, self.strict = Torn.made, strict
        Torn.made += 1

    def move(self, action):
        assert not (self.strict and np.isnan(action).any()), "NaN action"
        super().move(action)

    def look(self):
        observation, achieved, goal = super().look()
        return (observation * np.nan if self.number >= 2 and self.steps >= 3 else observation), achieved, goal


class Double(Slide):
    """Rewards what it knows in float64 and shows it in float32: at the very edge of the goal the two differ."""

    def begin(self):
        self.at, self.goal = np.zeros(2), np.array([0.5, 0.0])

    def move(self, action):
        super().move(np.zeros(2))
        self.at[0] = 0.2 - 1e-9 if self.steps == 5 and self.episode >= 6 else 0.1 * self.np_random.uniform()

    def judge(self, reward):
        reached = bool(np.abs(self.goal - self.at)[0] <= self.radius)
        return float(reached) - 1.0, False, reached


class Careless(Slide):
    """Does with actions and infos what Gymnasium leaves open.

    Args:
        habit: to write into the `action`; to return the same `info` after every step; a success that is an `array`; an
            info that is `uneven`, with more entries in some steps than in others.
    """

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.habit, self.info = habit, {}

    def step(self, action):
        if self.habit == "action":
            action *= 0.5
        seen, reward, terminated, truncated, info = super().step(action)
        if self.habit == "info":
            info = self.info
        elif self.habit == "array":
            info["is_success"] = np.array([info["is_success"]])
        elif self.habit == "uneven":
            info["contacts"] = np.arange(self.np_random.integers(1, 5))
        return seen, reward, terminated, truncated, info


class Frees(Slide):
    """Rewards by what closing it frees."""

    def close(self):
        del self.radius


class Alone(Slide):
    """Can be made once, as a simulator with one port."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Alone.made += 1
        if Alone.made > 1:
            raise OSError("the port is taken")


class Blind(Slide):
    """Shows infinity where it sees nothing."""

    def look(self):
        return np.where(self.at > 0.5, np.inf, self.at), self.at, self.goal


for _task in (Breaks, Torn, Double, Careless, Frees, Alone, Blind):
    gym.register(f"{_task.__name__}-v0", entry_point=_task, max_episode_steps=STEPS)
