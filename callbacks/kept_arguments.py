"""Arguments of callbacks, which are the config's after a resume too."""

from inspect import signature
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer

PLAIN = bool, int, float, str  # what a checkpoint can hold of them


class KeptArguments(Callback):
    """Keep in force what a resume names anew of the arguments that a callback saves and restores.

    Lightning's `EarlyStopping` does so with its `patience`. What is not named anew stays as restored, for another
    callback may change it in the course of a run.
    """

    def __init__(self) -> None:
        self.arguments: dict[str, dict[str, Any]] = {}  # as the callbacks were built, by their keys in a checkpoint
        self.before: dict[str, dict[str, Any]] = {}  # of the run that goes on

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the arguments, before any state is restored."""
        for callback in cast(Any, trainer).callbacks:
            if type(callback).load_state_dict is not Callback.load_state_dict:
                values = {name: getattr(callback, name, None) for name in signature(type(callback)).parameters}
                plain = {name: value for name, value in values.items() if type(value) in PLAIN}
                self.arguments[callback.state_key] = plain

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments."""
        return self.arguments

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember those of the run that goes on."""
        self.before = state_dict

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put those back that were named anew, now that the callbacks are restored."""
        for callback in cast(Any, trainer).callbacks:
            before = self.before.get(callback.state_key, {})
            for name, value in self.arguments.get(callback.state_key, {}).items():
                if before.get(name, value) != value:
                    setattr(callback, name, value)
