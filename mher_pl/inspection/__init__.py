"""Reading a `Task` off a goal environment."""

from mher_pl.inspection.read import inspect_task
from mher_pl.inspection.rewards import require_same_rewards

__all__ = ["inspect_task", "require_same_rewards"]
