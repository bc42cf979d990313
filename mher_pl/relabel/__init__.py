"""Relabelling: which goals a replayed batch is trained under."""

from mher_pl.relabel.base import ImitationOnly, Noisy, Relabel, WhereRight, Wrapper
from mher_pl.relabel.curriculum import Curriculum
from mher_pl.relabel.foresight import Foresight
from mher_pl.relabel.goals import Future, Keep, OtherGoals, RandomGoals
from mher_pl.relabel.mixed import Mixed
from mher_pl.relabel.model_based import ModelBased

__all__ = [
    "Curriculum",
    "Foresight",
    "Future",
    "ImitationOnly",
    "Keep",
    "Mixed",
    "ModelBased",
    "Noisy",
    "OtherGoals",
    "RandomGoals",
    "Relabel",
    "WhereRight",
    "Wrapper",
]
