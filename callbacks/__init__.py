"""Lightning callbacks of mher_pl, one job each."""

from callbacks.checkpoint import RunCheckpoint
from callbacks.evaluation import Evaluation
from callbacks.interruption import Interruption, SavedInterruption, ended_by_signals
from callbacks.model_warmup import ModelWarmup
from callbacks.progress import Progress
from callbacks.relabel_goals import RelabelGoalLogger
from callbacks.seed_summary import SeedSummary
from callbacks.timing import Timing
from callbacks.video import Video

__all__ = [
    "Evaluation",
    "Interruption",
    "ModelWarmup",
    "Progress",
    "RelabelGoalLogger",
    "RunCheckpoint",
    "SavedInterruption",
    "SeedSummary",
    "Timing",
    "Video",
    "ended_by_signals",
]
