"""The paper's tasks as Gymnasium environments, one at a time and in batches."""

from mher_pl.envs.registration import make, make_vec

__all__ = ["make", "make_vec"]
