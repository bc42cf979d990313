"""What every method shares: an actor on normalised inputs, and how it acts, is saved and is logged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from tensordict import TensorDict
from torch import Tensor, nn

from mher_pl.checkpoint import require_same_networks
from mher_pl.errors import NonFiniteError, UserError, require_int, require_positive
from mher_pl.inputs import Inputs
from mher_pl.networks import Actor, Critic, Ensemble
from mher_pl.normalizer import Normalizer
from mher_pl.task import Task
from mher_pl.workers import average_gradients, gather_from_workers, worker_seed


class Agent(LightningModule, ABC):
    """A goal-conditioned deterministic actor, trained with manual optimisation.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        hidden_sizes: units of each hidden layer of actor and critic.
        actor_lr: Adam's learning rate for the actor.
        min_std: floor of the standard deviation in the input normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
        compile: whether `torch.compile` compiles the networks.
        seed: of the initial weights and of all randomness in the updates.
    """

    def __init__(
        self,
        task: Task,
        hidden_sizes: list[int],
        actor_lr: float,
        min_std: float,
        clip: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__()
        for size in hidden_sizes:
            require_int("model.hidden_sizes", size, 1)
        require_positive("model.actor_lr", actor_lr)
        require_positive("model.min_std", min_std)
        require_positive("model.clip", clip)
        self.automatic_optimization = False
        self.task, self.hidden_sizes, self.actor_lr = task, hidden_sizes, actor_lr
        self.min_std, self.clip, self.seed = min_std, clip, seed
        self.compiled = compile
        self.generator = torch.Generator().manual_seed(seed)
        self.tracked: dict[str, list[Tensor]] = {}

    def configure_model(self) -> None:
        """Build the networks, their weights decided by the seed alone whatever the device or strategy."""
        if hasattr(self, "inputs"):
            return
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(self.seed)
            task = self.task
            self.inputs = Inputs(
                task.observation_size, task.goal_size, task.desired_goal_indices, self.min_std, self.clip
            )
            self.build()
        if self.compiled:
            for network in self.modules():
                if isinstance(network, Actor | Critic | Ensemble):
                    network.compile(dynamic=True)

    @abstractmethod
    def build(self) -> None:
        """Create the actor and whatever else the method learns."""

    def make_actor(self) -> Actor:
        """Create an actor with fresh weights."""
        return Actor(self.task.observation_size + self.task.goal_size, self.task.action_size, self.hidden_sizes)

    def setup(self, stage: str) -> None:
        """Put the generator on the device of the networks; data-parallel workers draw different numbers."""
        seed = worker_seed(self.seed, self.trainer.global_rank)
        if self.generator.device != self.device or seed != self.seed:
            self.generator = torch.Generator(self.device).manual_seed(seed)

    # Acting

    @torch.no_grad()
    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the deterministic actions [..., action] on the inputs' own device."""
        inputs = self.inputs(observation.to(self.device), goal.to(self.device))
        return self.actor(inputs).to(observation.device)

    def value(self, observation: Tensor, goal: Tensor, action: Tensor) -> Tensor | None:
        """Return Q(s, a, g) [...], or None where the method has no critic."""
        return None

    # Learning

    def observe(self, episode: TensorDict) -> None:
        """Fold a newly stored episode into the statistics of the inputs.

        Every state counts with both kinds of goals that training meets: the one achieved next and the desired one.
        """
        episode = episode.to(self.device)
        state = episode["observation"][:-1]  # [T, obs]
        achieved_goal = episode["achieved_goal"][1:]  # [T, goal]
        desired_goal = episode["desired_goal"].expand_as(achieved_goal)
        rows = torch.cat([self.inputs.join(state, goal) for goal in (achieved_goal, desired_goal)])
        self.inputs.normalizer.update(self.sum_over_workers(Normalizer.sums_of(rows)))

    def sum_over_workers(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over data-parallel workers; itself where there is one."""
        return self.trainer.strategy.reduce(tensor, reduce_op="sum")

    def minimize(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        """Take the gradient of `loss` for the optimiser's own parameters alone, the mean over data-parallel workers.

        The step is the caller's. `manual_backward` would go through the hooks of all callbacks twice, which with
        networks this small takes as long as a layer.
        """
        parameters = optimizer.param_groups[0]["params"]
        for parameter in parameters:
            parameter.grad = None
        loss.backward(inputs=parameters)
        average_gradients(self.trainer, parameters)

    def counted_optimizer(self) -> LightningOptimizer:
        """Return the actor's optimiser in Lightning's wrapper, for the last step of an episode.

        Lightning counts that step (`global_step`, `max_steps`) and tells callbacks of it; to do so for each step of an
        update would take a fifth as long as the step.
        """
        optimizers = self.optimizers()
        return optimizers[0] if isinstance(optimizers, list) else optimizers

    def make_optimizer(self, network: nn.Module, lr: float) -> torch.optim.Optimizer:
        """Create Adam; fused, because with networks this small the calls cost more than the arithmetic."""
        return torch.optim.Adam(network.parameters(), lr=lr, fused=True)

    # Logging

    def track(self, values: dict[str, Tensor]) -> None:
        """Keep detached scalars; their means over the epoch are logged at its end, without a sync before.

        They lie on the agent's device, and all data-parallel workers track the same keys in the same order.
        """
        for key, value in values.items():
            self.tracked.setdefault(key, []).append(value.detach())

    def check_finite(self, losses: dict[str, Tensor]) -> None:
        """Raise `NonFiniteError` naming the first loss that is NaN or infinite."""
        for name, loss in losses.items():
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    f"{name} is {loss.item()} after {self.trainer.datamodule.env_steps} environment steps"
                )

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means of all tracked scalars, over all workers, against environment steps."""
        # The epoch is over, also where the trainer cut it short: what is saved from here on goes on with the next one.
        self.trainer.datamodule.position = 0
        means = torch.stack([torch.stack(values).mean() for values in self.tracked.values()])
        means = dict(zip(self.tracked, self.trainer.strategy.reduce(means).tolist(), strict=True))
        self.tracked.clear()
        self.trainer.datamodule.log_metrics(means)

    def on_validation_model_zero_grad(self) -> None:
        """Leave gradients as they are: `minimize` takes each anew."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Leave the work to the `Evaluation` callback: episodes are no batches."""

    test_step = validation_step

    # Saving

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save, beside the weights, what restores the policy without a trainer, and the random generator."""
        checkpoint["agent"] = {
            "env": self.task.env,
            "sizes": [self.task.observation_size, self.task.action_size, self.task.goal_size],
            "hidden_sizes": list(self.hidden_sizes),
            "desired_goal_indices": list(self.task.desired_goal_indices),
            "clip": self.clip,
            "min_std": self.min_std,
            "workers": gather_from_workers(
                self.trainer,
                {
                    "generator": self.generator.get_state(),
                    "tracked": {key: torch.stack(values) for key, values in self.tracked.items()},
                },
            ),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the random generator and, within an epoch, what was tracked so far.

        Raises:
            UserError: the checkpoint is of another task, shape or device.
        """
        self.require_own(checkpoint)
        saved = checkpoint["agent"]
        if self.trainer.state.fn == "fit" and len(saved["workers"]) == self.trainer.world_size:
            own = saved["workers"][self.trainer.global_rank]
            if own["generator"].shape != self.generator.get_state().shape:
                raise UserError(
                    f"trainer.accelerator puts the networks on {self.device.type}, but the checkpoint is of another "
                    "kind of device; allowed: trainer.accelerator as when it was written"
                )
            self.generator.set_state(own["generator"])
            self.tracked = {key: list(values.to(self.device)) for key, values in own["tracked"].items()}

    def require_own(self, checkpoint: dict[str, Any]) -> None:
        """Raise `UserError` if the checkpoint is of another task or of networks of other shapes."""
        saved = checkpoint["agent"]
        sizes = [self.task.observation_size, self.task.action_size, self.task.goal_size]
        if [saved["env"], saved["sizes"], saved["hidden_sizes"]] != [self.task.env, sizes, list(self.hidden_sizes)]:
            raise UserError(
                f"ckpt_path names a checkpoint of {saved['env']} with observation, action, goal sizes {saved['sizes']} "
                f"and layers {saved['hidden_sizes']}; allowed: one of {self.task.env} with {sizes} and "
                f"{self.hidden_sizes}"
            )
        require_same_networks(checkpoint["state_dict"], self.state_dict())
