"""MHER, Model-based Hindsight Experience Replay, as a PyTorch Lightning trainer."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mher_pl.envs.registration import make, make_vec, register
from mher_pl.version import __version__

if TYPE_CHECKING:
    from mher_pl.data import GoalDataModule
    from mher_pl.mher import MHER
    from mher_pl.policy import load_policy
    from mher_pl.run.api import load

__all__ = ["MHER", "GoalDataModule", "__version__", "load", "load_policy", "make", "make_vec"]

# Imported when they are asked for, because they need torch and making an environment does not.
_LATE = {"MHER": "mher", "GoalDataModule": "data", "load": "run.api", "load_policy": "policy"}

register()


def __getattr__(name: str) -> Any:
    """Import a late name."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"mher_pl.{_LATE[name]}"), name)
