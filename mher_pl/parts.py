"""What the parts have in common that a method is composed of, and what they may ask of the agent."""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, TypeVar

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from tensordict import TensorDict
from torch import Tensor, nn

from mher_pl.errors import UserError
from mher_pl.task import Task

P = TypeVar("P", bound="Part")


class Part:
    """A swappable part of a method, a class that the config names.

    What a part is, its arguments say, and it keeps each as an attribute of the same name. A part of the agent with
    parameters or statistics is an `nn.Module`, too, and these are saved with the agent's weights.
    """

    uses_model = False  # whether the part walks the dynamics model
    uses_phi = False  # whether it reads achieved goals off observations, without a model too

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` if the part cannot work on `task` or with `dynamics`."""
        if not self.uses_model:
            return
        name = type(self).__name__
        if dynamics is None:
            raise UserError(
                f"model.dynamics is null; allowed: a dynamics model, which {name} asks, or another part "
                "where the agent has none"
            )
        task.require_phi(f"model's {name}")

    @property
    def keeps_state(self) -> bool:
        """Whether it has a state that a resumed run needs."""
        return type(self).worker_state is not Part.worker_state

    def worker_state(self) -> dict[str, Any]:
        """Return what a resumed run needs beside parameters, as plain data; every worker has its own."""
        return {}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore what `worker_state` returned."""


class DynamicsModel(Part, nn.Module, ABC):
    """A learned model of the environment (Section 4.1)."""

    updates_per_batch = 1  # gradient steps on each replayed batch
    least_rows = 1  # that a batch must have
    refits = False  # whether it learns from all that is stored, by `refit`, after each episode

    @abstractmethod
    def build(self, task: Task) -> None:
        """Create weights and statistics for the task's sizes."""

    @abstractmethod
    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimiser of the model's parameters."""

    @abstractmethod
    def predict(self, state: Tensor, action: Tensor) -> Tensor:
        """Return the next states [B, state] after actions [B, action] in states [B, state]."""

    def draw(self, state: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return next states [B, state] at random, where the model tells how likely each is."""
        return self.predict(state, action)

    @abstractmethod
    def examples(self, batch: TensorDict) -> Any:
        """Return what the model learns from a replayed batch, prepared once for several gradient steps."""

    @abstractmethod
    def loss(self, examples: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss [] of `examples` to minimise, and scalars to log."""

    def refit(
        self,
        batch: TensorDict,
        minimize: Callable[[Tensor], None],
        reduce: Callable[[Tensor], Tensor],
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Learn from all stored transitions, before the batches that are replayed after an episode.

        Args:
            batch: the transitions [N].
            minimize: takes a gradient step down a loss [].
            reduce: sums a tensor over data-parallel workers, which must take equally many steps.
            generator: source of all randomness.

        Returns:
            scalars to log.
        """
        raise NotImplementedError

    @abstractmethod
    def observe(self, state: Tensor, action: Tensor, next_state: Tensor, reduce: Callable[[Tensor], Tensor]) -> None:
        """Fold new transitions [N, state], [N, action], [N, state] into the statistics; `reduce` sums over workers."""


class Learner(Protocol):
    """What a part may ask of the agent that it belongs to."""

    task: Task
    dynamics: DynamicsModel | None

    @property
    def current_epoch(self) -> int:
        """Epochs trained so far."""

    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the actor's actions [B, action]."""

    def target_act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the target actor's actions [B, action]; the actor's own where there is no target."""


class CriticLearner(Learner, Protocol):
    """What a part may ask besides of an agent that has a critic."""

    discount: float

    def target_value(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return Q'(s, pi'(s, g), g) [B] of the target networks."""


def describe(part: Part) -> dict[str, Any]:
    """Return class and arguments of a part as plain data, in the form that a config has.

    Raises:
        UserError: it does not keep an argument.
    """
    names = inspect.signature(type(part).__init__).parameters.keys() - {"self"}
    if lost := sorted(name for name in names if not hasattr(part, name)):
        raise UserError(
            f"{class_path(type(part))} keeps no {', '.join(lost)}; allowed: an attribute of the name of each argument, "
            "for checkpoints"
        )
    values = {name: getattr(part, name) for name in sorted(names)}
    arguments = {name: describe(value) if isinstance(value, Part) else value for name, value in values.items()}
    return {"class_path": class_path(type(part)), "init_args": arguments}


def require_like(setting: str, part: Part, what: str, given: object, like: Tensor) -> None:
    """Raise `UserError` unless what a part gives is a tensor of the shape and type of `like`."""
    if isinstance(given, Tensor):
        if given.shape == like.shape and given.dtype == like.dtype:
            return
        form = _form(given)
    else:
        form = f"a {type(given).__name__}"
    raise UserError(f"{setting} is {type(part).__name__}, whose {what} are {form}; allowed: {_form(like)}")


def _form(tensor: Tensor) -> str:
    return f"a tensor {list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def class_path(cls: type) -> str:
    """Return how a config names a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def rebuild(description: Mapping[str, Any], kind: type[P]) -> P:
    """Create the part of a `kind` that `describe` described.

    No module is imported for it but those of mher_pl: a description may come from a file that anyone wrote.

    Raises:
        UserError: its class is none of `kind`, or of a module that is not imported.
    """
    path, arguments = description["class_path"], description["init_args"]
    module, _, name = path.rpartition(".")
    if module.startswith("mher_pl."):
        import_module(module)
    cls = getattr(sys.modules.get(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise UserError(
            f"ckpt_path names a checkpoint with the part {path}; allowed: a {kind.__name__} of mher_pl, or of a module "
            "that was imported before"
        )
    return cls(**arguments)


def worker_states(parts: Mapping[str, Part]) -> dict[str, Any]:
    """Return the class and the worker's state of each part by name."""
    return {name: {"class": type(part).__name__, "state": part.worker_state()} for name, part in parts.items()}


def require_same_parts(section: str, parts: Mapping[str, Part], saved: Mapping[str, Any]) -> None:
    """Raise `UserError` if a part that keeps a state, or kept one, is of another class than the saved one."""
    for name, part in parts.items():
        own, before = type(part), saved.get(name, {"class": None, "state": {}})
        if before["class"] != own.__name__ and (before["state"] or part.keeps_state):
            raise UserError(f"{section}.{name} is {own.__name__}; allowed: {before['class']}, as in the checkpoint")


def load_worker_states(parts: Mapping[str, Part], saved: Mapping[str, Any]) -> None:
    """Restore what `worker_states` returned."""
    for name, part in parts.items():
        if name in saved and saved[name]["class"] == type(part).__name__:
            # A view of the file would keep the old checkpoint on the disk for as long as the run lasts.
            part.load_worker_state(apply_to_collection(saved[name]["state"], Tensor, torch.clone))
