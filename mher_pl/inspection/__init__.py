"""Reading a `Task` off a goal environment."""

from mher_pl.inspection.probe import GOAL_KEYS
from mher_pl.inspection.read import inspect_task
from mher_pl.inspection.rewards import require_same_rewards

__all__ = ["GOAL_KEYS", "inspect_task", "require_same_rewards"]
