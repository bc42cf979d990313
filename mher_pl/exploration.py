"""How training episodes explore around the actor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from mher_pl.errors import require_at_least, require_probability
from mher_pl.parts import Part

Act = Callable[[Tensor, Tensor], Tensor]  # actions [..., action] of observations [..., obs] and goals


class Exploration(Part, ABC):
    """Acts in training episodes."""

    @abstractmethod
    def __call__(
        self, act: Act, observation: Tensor, goal: Tensor, action_size: int, generator: torch.Generator, random: bool
    ) -> Tensor:
        """Return actions [N, action] in [-1, 1] for the observations of N environments.

        Args:
            act: the deterministic actor.
            observation: of the environments [N, obs].
            goal: the desired ones [N, goal].
            action_size: entries of an action.
            generator: source of all randomness.
            random: whether the actions are to be uniformly random, as in the warm-up.
        """


class NoisyActor(Exploration):
    """The actor with Gaussian noise, and now and then a uniformly random action instead (Section 5.1).

    Args:
        noise: standard deviation of the noise on actions in [-1, 1].
        random_action_probability: chance of a uniform action.
    """

    def __init__(self, noise: float, random_action_probability: float) -> None:
        require_at_least("data.exploration.noise", noise, 0.0)
        require_probability("data.exploration.random_action_probability", random_action_probability)
        self.noise, self.random_action_probability = noise, random_action_probability

    def __call__(
        self, act: Act, observation: Tensor, goal: Tensor, action_size: int, generator: torch.Generator, random: bool
    ) -> Tensor:
        """Return actions [N, action] in [-1, 1]."""
        draws = torch.rand(len(observation), action_size + 1, generator=generator)
        blind = draws[:, 0] < self.random_action_probability  # [N] take a uniform action
        rows = blind.tolist()
        if random or all(rows):
            return 2.0 * draws[:, 1:] - 1.0
        action = act(observation, goal)  # [N, action]
        action = (action + self.noise * torch.randn(action.shape, generator=generator)).clamp(-1.0, 1.0)
        return torch.where(blind.unsqueeze(-1), 2.0 * draws[:, 1:] - 1.0, action) if any(rows) else action
