"""MHER's relabelling: goals on a virtual path through the dynamics model."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.dynamics import virtual_ends
from mher_pl.errors import require_at_least, require_int
from mher_pl.parts import Learner
from mher_pl.relabel.base import Relabel


class ModelBased(Relabel):
    """MHER: a goal reached on a virtual path of the policy through the dynamics model (Section 4.2).

    The policy is the target actor, as in the authors' program.

    Args:
        ratio: share of relabelled rows.
        steps: length n of the virtual path from s_{t+1}; 0 relabels with what s_{t+1} itself achieves.
        noise: standard deviation of Gaussian noise on the virtual actions.
    """

    uses_model = True

    def __init__(self, ratio: float, steps: int, noise: float) -> None:
        super().__init__(ratio)
        require_int("model.relabel.steps", steps, 0)
        require_at_least("model.relabel.noise", noise, 0.0)
        self.steps, self.noise = steps, noise

    def goals(self, batch: TensorDict, rows: Tensor, learner: Learner, generator: torch.Generator) -> Tensor:
        """Draw a goal from the n + 1 states of each row's virtual path, s_{t+1} included (lines 11 to 19).

        A row's state is drawn first and its path followed no further than that state, which halves the work: row i
        needs steps[i] steps of the model, and none where `rows` is False. The paths go on under the original goals.
        """
        state = learner.task.state(batch["next", "observation"], batch["next", "achieved_goal"])
        goal = batch["desired_goal"]
        steps = torch.randint(self.steps + 1, (len(batch),), generator=generator, device=state.device) * rows  # [B]
        with torch.inference_mode():
            ends = virtual_ends(learner, learner.target_act, state, goal, steps, self.steps, self.noise, generator)
            return learner.task.phi(ends)
