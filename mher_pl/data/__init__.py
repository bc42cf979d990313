"""Episodes in, batches out."""

from mher_pl.data.collect import Collected
from mher_pl.data.module import GoalDataModule, data_of
from mher_pl.data.offline import MinariEpisodes, StoredEpisodes
from mher_pl.data.source import EpisodeSource

__all__ = ["Collected", "EpisodeSource", "GoalDataModule", "MinariEpisodes", "StoredEpisodes", "data_of"]
