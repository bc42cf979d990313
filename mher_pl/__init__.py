"""MHER, Model-based Hindsight Experience Replay, as a PyTorch Lightning trainer."""

from typing import TYPE_CHECKING, Any

from mher_pl.envs.registration import make, make_vec, register

__version__ = "0.1.0"
__all__ = ["load_policy", "make", "make_vec"]

if TYPE_CHECKING:
    from mher_pl.policy import load_policy

register()


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for, so that making an environment does not."""
    if name == "load_policy":
        from mher_pl.policy import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
