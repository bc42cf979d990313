"""The supervised loss as a later program of the authors has it in the ablation without model-based relabelling."""

from typing import Any

from tensordict import TensorDict
from torch import Tensor

from mher_pl.mher import MHER


class Auxiliary(MHER):
    """DDPG with a step of its own on the supervised loss, before the other losses of each batch.

    The step is one of the actor's optimiser, so both losses have Adam's moments in common, and the target networks
    follow it (`YangRui2015/AWGCSL`, with `no_mb_relabel`).
    """

    def __init__(self, target_updates_per_step: int, **kwargs: Any) -> None:
        """Take how often the target networks move after each supervised step; the rest goes to MHER."""
        super().__init__(**kwargs)
        self.target_updates_per_step = target_updates_per_step

    def critic_loss(self, batch: TensorDict) -> Tensor:
        """Take the supervised step on the relabelled rows, and then return the critic's loss."""
        action = self.actor(self.inputs(batch["observation"], batch["imitation_goal"]))
        error = (action - batch["action"]).square().mean(dim=-1) * batch["imitated"]  # [B]
        self.minimize({"actor": error.sum() / batch["imitated"].sum().clamp_min(1)})
        for _ in range(self.target_updates_per_step):
            self.update_targets()
        return super().critic_loss(batch)
