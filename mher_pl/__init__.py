"""MHER, Model-based Hindsight Experience Replay, as a PyTorch Lightning trainer."""

from mher_pl.envs.registration import make, make_vec, register

__version__ = "0.1.0"
__all__ = ["make", "make_vec"]

register()
