"""MapGo's relabelling: near goals from virtual paths, far ones from the episode (Zhu et al. 2021)."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.dynamics import virtual_ends
from mher_pl.errors import require_at_least, require_int, require_probability
from mher_pl.parts import Learner
from mher_pl.relabel.base import Relabel


class Foresight(Relabel):
    """MapGo's foresight goal inference: what the current policy would reach next, where it was to go on for a while.

    A number of steps is drawn as HER draws how far ahead its goal lies. Where it is within the foresight, the goal is
    the end of a virtual path of as many steps from s_{t+1}, on which the exploring policy goes towards a goal achieved
    later in the episode. Where it is farther, the goal is one achieved later itself.

    Args:
        ratio: share of relabelled rows.
        steps: the foresight, steps of the longest virtual path.
        noise: standard deviation of Gaussian noise on the virtual actions.
        random_action_probability: chance of a uniform virtual action in place of the policy's.
    """

    uses_model = True

    def __init__(self, ratio: float, steps: int, noise: float, random_action_probability: float) -> None:
        super().__init__(ratio)
        require_int("model.relabel.steps", steps, 0)
        require_at_least("model.relabel.noise", noise, 0.0)
        require_probability("model.relabel.random_action_probability", random_action_probability)
        self.steps, self.noise, self.random_action_probability = steps, noise, random_action_probability

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Return the ends of the virtual paths, and the hindsight goals where the draw is beyond the foresight."""
        state = learner.task.state(batch["next", "observation"], batch["next", "achieved_goal"])
        goal, left = batch["hindsight_goal"], batch["steps_left"]  # [B, goal], [B]
        ahead = 1 + (torch.rand(len(left), generator=generator, device=left.device) * left).long()  # [B] of 1 ... T - t
        near = rows & (ahead <= self.steps)  # [B]
        with torch.inference_mode():
            ends = virtual_ends(
                learner,
                learner.act,
                state,
                goal,
                ahead * near,
                self.steps,
                self.noise,
                generator,
                self.random_action_probability,
            )
            return torch.where(near.unsqueeze(-1), learner.task.phi(ends), goal)
