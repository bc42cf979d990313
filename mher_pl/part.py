"""What the parts have in common that a method is composed of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mher_pl.errors import UserError

if TYPE_CHECKING:
    from mher_pl.dynamics import EnsembleDynamics
    from mher_pl.task import Task


class Part:
    """A swappable part of a method: a relabeller, a TD target or a batch source."""

    uses_model = False  # whether the part rolls the dynamics model out

    def check(self, task: Task, dynamics: EnsembleDynamics | None) -> None:
        """Raise `UserError` if the part needs a dynamics model or a state-to-goal map that is not there."""
        if not self.uses_model:
            return
        name = type(self).__name__
        if dynamics is None:
            raise UserError(f"model.dynamics is null; allowed: a dynamics model, for {name} makes virtual paths")
        task.require_phi(f"model's {name}")
