"""CHER: Curriculum-guided Hindsight Experience Replay (Fang et al. 2019)."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import require_positive, require_probability
from mher_pl.parts import Learner
from mher_pl.relabel.goals import Future


class Curriculum(Future):
    """HER on those rows of a larger batch whose hindsight goals are diverse and near the desired ones.

    The rows A maximise F_div(A) + lambda F_prox(A) over the candidates B, the batch: F_div is the facility location
    function, the sum over B of each goal's similarity to its most similar one in A; F_prox is the negative sum over A
    of the distances between hindsight and desired goal. Lambda grows with every epoch, from diversity to proximity.

    Distances are measured in the candidates' mean distance, so that lambda means the same in every task; the authors'
    program takes the task's own unit. It also compares hindsight goals with the goal achieved now, not the desired
    one; their paper and we the desired one.

    Args:
        ratio: share of relabelled rows among the chosen ones.
        share: share of the candidates that is chosen.
        proximity_weight: lambda in the first epoch.
        growth: eta; lambda = proximity_weight x (1 + eta)^epoch.
    """

    mixes = False  # it chooses the batch's rows

    def __init__(self, ratio: float, share: float, proximity_weight: float, growth: float) -> None:
        super().__init__(ratio)
        require_probability("model.relabel.share", share)
        require_positive("model.relabel.share", share)
        require_positive("model.relabel.proximity_weight", proximity_weight)
        require_positive("model.relabel.growth", growth)
        self.share, self.proximity_weight, self.growth = share, proximity_weight, growth

    def candidates(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Choose the rows to learn from."""
        count = max(1, round(self.share * len(batch)))
        # lambda / (1 + lambda), which stays finite however many epochs there are
        proximity_share = 1.0 / (1.0 + (1.0 + self.growth) ** -learner.current_epoch / self.proximity_weight)
        return batch[select(batch["hindsight_goal"], batch["desired_goal"], count, proximity_share)]


def select(goals: Tensor, desired_goals: Tensor, count: int, proximity_share: float) -> Tensor:
    """Choose rows [count] of goals [B, goal] greedily by (1 - p) F_div + p F_prox with p = `proximity_share`.

    For p = 0, a monotone submodular function, greedy choice is within 1 - 1/e of the best. It is exact; the authors'
    program takes the best of a few random candidates instead.
    """
    similarity = (1.0 - proximity_share) * similarities(goals)  # [B, B]
    distance = (goals - desired_goals).norm(dim=-1)  # [B]
    proximity = -proximity_share * distance / distance.mean().clamp_min(1e-12)  # [B]
    best = torch.zeros_like(distance)  # [B] of each goal to its most similar chosen one
    rows = []
    for _ in range(count):
        gain = (similarity - best).clamp_min_(0.0).sum(dim=1).add_(proximity)  # [B] of choosing each row next
        row = gain.argmax(dim=0, keepdim=True)  # [1], used as a tensor alone, so that a GPU is never waited for
        rows.append(row)
        best = torch.maximum(best, similarity.index_select(0, row).squeeze(0))
        proximity.index_fill_(0, row, -torch.inf)  # chosen rows are out
    return torch.cat(rows)


def similarities(goals: Tensor) -> Tensor:
    """Return exp(-(d / sigma)^2) [B, B] of the goals' distances d; sigma is the mean distance to the nearest other."""
    distance = torch.cdist(goals, goals, compute_mode="donot_use_mm_for_euclid_dist")  # [B, B]
    others = distance + torch.diag_embed(torch.full_like(distance[0], torch.inf))
    sigma = others.amin(dim=1).mean()  # infinite for a single goal
    return torch.exp(-(distance / sigma.clamp_min(1e-12)).square())
