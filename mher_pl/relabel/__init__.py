"""Relabelling: which goals a replayed batch is trained under."""

from mher_pl.relabel.base import ImitationOnly, Noisy, Relabel, Wrapper
from mher_pl.relabel.curriculum import Curriculum
from mher_pl.relabel.goals import Future, Keep, RandomGoals
from mher_pl.relabel.model_based import ModelBased

__all__ = ["Curriculum", "Future", "ImitationOnly", "Keep", "ModelBased", "Noisy", "RandomGoals", "Relabel", "Wrapper"]
