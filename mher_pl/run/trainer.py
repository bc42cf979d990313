"""Lightning's trainer for a single run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from lightning import Trainer

from mher_pl.errors import UserError, require
from mher_pl.run.start import Start
from mher_pl.run.threads import cpu_threads


class RunTrainer(Trainer):
    """A trainer that takes its CPU threads while it works alone, goes on where it was built to, and tells evaluations.

    The attributes are set by whoever builds it.
    """

    threads: int | None = None  # see `cpu_threads`
    start = Start()  # where it was built to start
    fitted = False

    def fit(
        self,
        model: Any,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: Any = None,
        ckpt_path: Any = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, from the checkpoint that it was built to start from unless another file is named.

        Raises:
            UserError: it trained before, and would throw the replay away; or which run is the last was not said when it
                was built, with a folder of its own.
        """
        if self.fitted:
            raise UserError("trainer.fit is called again; allowed: once, then mher_pl.load(..., ckpt_path='last')")
        if ckpt_path == "last":
            require(self.start.asked, "ckpt_path", ckpt_path, "a file, or mher_pl.load(..., ckpt_path='last')")
        self.fitted, path = True, self.start.checkpoint if ckpt_path in (None, "last") else ckpt_path
        with self._threads():
            super().fit(model, train_dataloaders, val_dataloaders, datamodule, path, weights_only)

    def validate(self, *args: Any, **kwargs: Any) -> list[dict[str, float]]:  # type: ignore[override]
        """Repeat the evaluation of an epoch and return its means."""
        with self._threads():
            super().validate(*args, **kwargs)
        return [self._evaluated()]

    def test(self, *args: Any, **kwargs: Any) -> list[dict[str, float]]:  # type: ignore[override]
        """Evaluate on episodes of `test`'s own and return the means."""
        with self._threads():
            super().test(*args, **kwargs)
        return [self._evaluated()]

    def _evaluated(self) -> dict[str, float]:
        # Lightning returns what goes to the loggers, which count environment steps and not as Lightning does.
        return {name: value.item() for name, value in self.callback_metrics.items() if name.startswith("eval/")}

    def _threads(self) -> AbstractContextManager[None]:
        return cpu_threads(self.threads, self.num_devices)
