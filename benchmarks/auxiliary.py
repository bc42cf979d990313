"""The supervised loss as a later program of the authors has it in the ablation without model-based relabelling."""

from tensordict import TensorDict
from torch import Tensor

from mher_pl.mher import MHER

TARGET_UPDATES = 3  # after each supervised step


class Auxiliary(MHER):
    """DDPG with a step of its own on the supervised loss, before the other losses of each batch.

    The step is one of the actor's optimiser, so both losses have Adam's moments in common, and the target networks
    follow it (`YangRui2015/AWGCSL`, with `no_mb_relabel`).
    """

    def critic_loss(self, batch: TensorDict) -> Tensor:
        """Take the supervised step on the relabelled rows, and then return the critic's loss."""
        action = self.actor(self.inputs(batch["observation"], batch["imitation_goal"]))
        error = (action - batch["action"]).square().mean(dim=-1) * batch["imitated"]  # [B]
        self.minimize({"actor": error.sum() / batch["imitated"].sum().clamp_min(1)})
        for _ in range(TARGET_UPDATES):
            self.update_targets()
        return super().critic_loss(batch)
