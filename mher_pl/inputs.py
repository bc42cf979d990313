"""What actor and critic see."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mher_pl.normalizer import Normalizer


class Inputs(nn.Module):
    """Observations and goals, joined and normalised.

    Where the observation itself shows the desired goal, the goal that is asked for stands there too. A relabelled
    transition is then what the environment would have shown under its new goal; with the old one left in it, two goals
    contradict each other.

    Args:
        observation_size: entries of an observation.
        goal_size: entries of a goal.
        desired_goal_indices: the observation entries that show the desired goal; none where empty.
        min_std: floor of the standard deviation in the normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
    """

    def __init__(
        self, observation_size: int, goal_size: int, desired_goal_indices: Sequence[int], min_std: float, clip: float
    ) -> None:
        super().__init__()
        self.normalizer = Normalizer(observation_size + goal_size, min_std, clip)
        self.shows_goal = len(desired_goal_indices) > 0
        sources = torch.arange(observation_size + goal_size)
        if self.shows_goal:
            sources[list(desired_goal_indices)] = sources[observation_size:].clone()
        # No part of the weights: the task decides it.
        self.register_buffer("sources", sources, persistent=False)  # entries of [observation, goal], by place

    def join(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Join observations [..., obs] under goals [..., goal] and the goals to [..., obs + goal]."""
        joined = torch.cat([observation, goal], dim=-1)
        return joined.index_select(-1, self.sources) if self.shows_goal else joined

    def forward(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Join and normalise observations [..., obs] and goals [..., goal] to network inputs [..., obs + goal]."""
        return self.normalizer(self.join(observation, goal))
