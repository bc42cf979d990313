"""The paper's tasks as Gymnasium environments, one at a time and in batches."""

from mher_pl.envs.registration import has_batch, make, make_vec

__all__ = ["has_batch", "make", "make_vec"]
