"""Lightning callbacks of mher_pl, one job each."""

from callbacks.checkpoint import RunCheckpoint
from callbacks.evaluation import Evaluation
from callbacks.model_warmup import ModelWarmup
from callbacks.progress import Progress
from callbacks.relabel_goals import RelabelGoalLogger
from callbacks.timing import Timing
from callbacks.video import Video

__all__ = ["Evaluation", "ModelWarmup", "Progress", "RelabelGoalLogger", "RunCheckpoint", "Timing", "Video"]
