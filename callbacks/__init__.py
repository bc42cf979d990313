"""Lightning callbacks of mher_pl, one job each."""

from mher_pl.callbacks.checkpoint import RunCheckpoint
from mher_pl.callbacks.evaluation import Evaluation
from mher_pl.callbacks.goal_map import GoalMap
from mher_pl.callbacks.interruption import Interruption, SavedInterruption
from mher_pl.callbacks.kept_arguments import KeptArguments
from mher_pl.callbacks.model_warmup import ModelWarmup
from mher_pl.callbacks.progress import Progress
from mher_pl.callbacks.relabel_goals import RelabelGoalLogger
from mher_pl.callbacks.run_end import RunEnd
from mher_pl.callbacks.seed_summary import SeedSummary
from mher_pl.callbacks.timing import Timing
from mher_pl.callbacks.video import Video

__all__ = [
    "Evaluation",
    "GoalMap",
    "Interruption",
    "KeptArguments",
    "ModelWarmup",
    "Progress",
    "RelabelGoalLogger",
    "RunCheckpoint",
    "RunEnd",
    "SavedInterruption",
    "SeedSummary",
    "Timing",
    "Video",
]
