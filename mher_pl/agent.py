"""What every method shares: an actor on normalised inputs, and how it acts, is saved and is logged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from inspect import signature
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning_utilities.core.apply_func import apply_to_collection
from tensordict import TensorDict
from torch import Tensor, nn

from mher_pl.errors import NonFiniteError, UserError, require_positive, require_sizes
from mher_pl.exploration import GuidePolicy
from mher_pl.inputs import Inputs, require_same_inputs
from mher_pl.networks import MLP, Actor, require_same_networks
from mher_pl.parallel.workers import average_gradients, gather_from_workers, worker_seed
from mher_pl.parts import (
    DynamicsModel,
    Part,
    class_path,
    describe,
    load_worker_states,
    rebuild,
    require_same_parts,
    worker_states,
)
from mher_pl.relabel import Relabel
from mher_pl.streams import Stream, go_on, stream_generator, stream_seed
from mher_pl.task import Task


class Agent(LightningModule, ABC):
    """A goal-conditioned deterministic actor, trained with manual optimisation.

    A method is a subclass with three things of its own: `build` makes its networks, among them `actor`;
    `make_optimizers` names an optimiser for each of them; `training_step` learns from the batches that were replayed
    after an episode. The rest of what data module and callbacks ask of an agent is here: `act`, `value`, `observe`,
    `warm_up`, `track`, and the attributes `task`, `inputs`, `relabel` and `dynamics`; the last two may be None.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        inputs: what the networks see of observation and goal.
        relabel: which goals a batch is trained under; None where a method never asks.
        dynamics: the learned model; None where no part of the method uses one.
        hidden_sizes: units of each hidden layer of the actor.
        actor_lr: Adam's learning rate for the actor.
        compile: whether `torch.compile` compiles the networks.
        seed: of the initial weights and of all randomness in the updates.
    """

    actor: nn.Module  # of what `inputs` gives [..., size] to actions [..., action]
    inputs: Inputs
    dynamics: DynamicsModel | None
    path_length = 1  # consecutive steps of each replayed row: batches are [B], or of paths [B, steps]
    acting = "actor"  # name of the network that acts, and that is exported

    def __init__(
        self,
        task: Task,
        inputs: Inputs,
        relabel: Relabel | None,
        dynamics: DynamicsModel | None,
        hidden_sizes: list[int],
        actor_lr: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__()
        require_sizes("model.hidden_sizes", hidden_sizes)
        require_positive("model.actor_lr", actor_lr)
        self.automatic_optimization = False
        self.task, self.inputs, self.relabel, self.dynamics = task, inputs, relabel, dynamics
        self.hidden_sizes, self.actor_lr, self.compiled, self.seed = hidden_sizes, actor_lr, compile, seed
        self.generator = stream_generator(seed, Stream.UPDATES)
        self.guide: GuidePolicy | None = None  # for an easier sub-goal; it may lead the exploration
        self.tracked: dict[str, list[Tensor]] = {}

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that the method is composed of, by their names in the config."""
        inits = [cls.__init__ for cls in type(self).__mro__ if issubclass(cls, Agent)]  # one may hand on what it gets
        names = dict.fromkeys(name for init in inits for name in signature(init).parameters)
        values = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in values.items() if isinstance(value, Part)}

    @property
    def data(self) -> Any:
        """The run's data module, for which Lightning has no type."""
        return cast(Any, self.trainer).datamodule

    # What a method has of its own

    @abstractmethod
    def build(self) -> None:
        """Create the actor and whatever else the method learns; `inputs` is built already."""

    @abstractmethod
    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers by name. Lightning's `global_step` counts the steps of the first."""

    @abstractmethod
    def training_step(self, batches: list[TensorDict], batch_idx: int) -> dict[str, list[TensorDict]] | None:
        """Learn from the batches replayed after an episode.

        Returns:
            Under `relabelled` the batches as they were relabelled, for callbacks to look at; or None.
        """

    def value(self, observation: Tensor, goal: Tensor, action: Tensor) -> Tensor | None:
        """Return Q(s, a, g) [...], or None where the method has no critic."""
        return None

    def warm_up(self, batches: Iterator[TensorDict]) -> None:
        """Learn from batches of the random episodes before the first epoch, which are sampled as they are asked for."""

    # Networks

    def configure_model(self) -> None:
        """Build the networks, their weights decided by the seed alone whatever the device or strategy.

        Raises:
            UserError: a part cannot work on the task, or without a model.
        """
        if hasattr(self, "actor"):
            return
        for part in self.parts.values():
            part.check(self.task, self.dynamics)
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(stream_seed(self.seed, Stream.WEIGHTS))
            self.inputs.build(self.task)
            self.build()
        describe(self.inputs)  # as a checkpoint will
        if self.compiled:
            for network in self.modules():
                if isinstance(network, MLP):
                    network.compile(dynamic=True)

    def make_actor(self) -> Actor:
        """Create an actor with fresh weights."""
        return Actor(self.inputs.size, self.task.action_size, self.hidden_sizes)

    def make_actor_optimizer(self) -> torch.optim.Optimizer:
        """Create Adam; fused, because with networks this small the calls cost more than the arithmetic."""
        return torch.optim.Adam(self.actor.parameters(), lr=self.actor_lr, fused=True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Hand the optimisers to Lightning, which saves them; their settings are the config's, after a resume too."""
        self.named_optimizers = self.make_optimizers()
        for optimizer in self.named_optimizers.values():
            optimizer.register_load_state_dict_pre_hook(keep_settings)
        return list(self.named_optimizers.values())

    def setup(self, stage: str) -> None:
        """Put the generator on the device of the networks; data-parallel workers draw different numbers."""
        seed = worker_seed(self.seed, self.trainer.global_rank)
        self.generator = stream_generator(seed, Stream.UPDATES, self.device)

    @property
    def least_rows(self) -> int:
        """How many rows a batch must have."""
        return 1 if self.dynamics is None else self.dynamics.least_rows

    # Acting

    @torch.no_grad()
    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the deterministic actions [..., action] on the inputs' own device."""
        inputs = self.inputs(observation.to(self.device), goal.to(self.device))
        return getattr(self, self.acting)(inputs).to(observation.device)

    def target_act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the target actor's actions [B, action]; here, without one, the actor's."""
        return self.act(observation, goal)

    # Learning

    def observe(self, episode: TensorDict) -> None:
        """Fold a new episode, without padding, into the statistics of the inputs and of the dynamics model."""
        episode = episode.to(self.device)
        self.inputs.observe(episode, self.sum_over_workers)
        if self.dynamics is not None:
            state = self.task.state(episode["observation"], episode["achieved_goal"])  # [T+1, state]
            self.dynamics.observe(state[:-1], episode["action"], state[1:], self.sum_over_workers)

    def sum_over_workers(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over data-parallel workers; itself where there is one."""
        return self.trainer.strategy.reduce(tensor, reduce_op="sum")

    def minimize(self, losses: dict[str, Tensor]) -> None:
        """Take one step of the optimisers named in `losses`, each down its own loss.

        All gradients are taken before any is applied, each for the optimiser's own parameters alone, as means over
        data-parallel workers.
        """
        for name, loss in losses.items():
            parameters = [p for group in self.named_optimizers[name].param_groups for p in group["params"]]
            for parameter in parameters:
                parameter.grad = None
            # Not `manual_backward`, which goes through the hooks of all callbacks twice: as long as a layer takes.
            loss.backward(inputs=parameters)
            average_gradients(self.trainer, parameters)
        for name in losses:
            self._stepper(name).step()

    def _stepper(self, name: str) -> Any:
        """Return the optimiser, the first one in Lightning's wrapper: `global_step` and `max_steps` count its steps."""
        if name != next(iter(self.named_optimizers)):
            return self.named_optimizers[name]
        wrapped = self.optimizers()
        return wrapped[0] if isinstance(wrapped, list) else wrapped

    # Logging

    def track(self, values: dict[str, Tensor]) -> None:
        """Keep detached scalars; their means over the epoch are logged at its end, without a sync before.

        They lie on the agent's device, and all data-parallel workers track the same keys in the same order.
        """
        for key, value in values.items():
            self.tracked.setdefault(key, []).append(value.detach())

    def check_finite(self) -> None:
        """Raise `NonFiniteError` naming the first tracked scalar whose newest value is NaN or infinite."""
        newest = {name: values[-1] for name, values in self.tracked.items()}
        if newest and not torch.isfinite(torch.stack(list(newest.values()))).all():
            name, value = next((name, value) for name, value in newest.items() if not torch.isfinite(value))
            steps = self.data.env_steps
            raise NonFiniteError(f"{name} is {value.item()} after {steps} environment steps")

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop where a loss went wrong, once an episode."""
        self.check_finite()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means of all tracked scalars, over all workers, against environment steps."""
        # The epoch is over, also where the trainer cut it short: what is saved from here on goes on with the next one.
        self.data.position = 0
        if not self.tracked:
            return
        means = torch.stack([torch.stack(values).mean() for values in self.tracked.values()])
        metrics = dict(zip(self.tracked, self.trainer.strategy.reduce(means).tolist(), strict=True))
        self.tracked.clear()
        self.data.log_metrics(metrics)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Leave the work to the `Evaluation` callback: episodes are no batches."""

    test_step = validation_step

    # Saving

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save, beside the weights, what restores the policy without a trainer, and the state of every worker.

        Raises:
            NonFiniteError: a weight or a statistic is NaN or infinite, so that nobody could use the checkpoint.
        """
        self.check_finite()
        for name, values in checkpoint["state_dict"].items():
            if not torch.isfinite(values).all():
                raise NonFiniteError(f"{name} holds NaN or infinity after {self.data.env_steps} environment steps")
        own = {
            "generator": self.generator.get_state(),
            "tracked": {key: torch.stack(values) for key, values in self.tracked.items()},
            "parts": worker_states(self.parts),
        }
        checkpoint["agent"] = {
            "task": self.task.shape(),
            "inputs": describe(self.inputs),
            "acting": self.acting,
            "acting_class": class_path(type(getattr(self, self.acting, None))),
            "hidden_sizes": list(self.hidden_sizes),
            "workers": gather_from_workers(self.trainer, own),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the random generator, the parts and, within an epoch, what was tracked so far.

        Raises:
            UserError: the checkpoint is of another task, shape, part or device.
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
            go_on(self.generator, own["generator"])
            self.tracked = {key: list(values.to(self.device)) for key, values in own["tracked"].items()}
            load_worker_states(self.parts, own["parts"])

    def require_own(self, checkpoint: dict[str, Any]) -> None:
        """Raise `UserError` if the checkpoint is of another task, of other parts or of networks of other shapes."""
        saved, own = checkpoint["agent"], self.task.shape()
        for name, value in own.items():
            if saved["task"][name] != value:
                whose = "" if name == "env" else f" whose {name} is {saved['task'][name]!r}"
                other = "" if name == "env" else f" with {value!r}"
                raise UserError(
                    f"ckpt_path names a checkpoint of {saved['task']['env']}{whose}; allowed: one of "
                    f"{self.task.env}{other}"
                )
        for worker in saved["workers"]:
            require_same_parts("model", self.parts, worker["parts"])
        require_same_networks(checkpoint["state_dict"], self.state_dict())
        require_same_inputs(self.inputs, rebuild(saved["inputs"], Inputs), self.task)


def keep_settings(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return a saved optimiser's state with the learning rate and other settings that `optimizer` has."""
    groups = zip(state["param_groups"], optimizer.param_groups, strict=True)
    moments = apply_to_collection(state["state"], Tensor, torch.clone)  # a view of the file would keep it on the disk
    return {"state": moments, "param_groups": [{**own, "params": saved["params"]} for saved, own in groups]}
