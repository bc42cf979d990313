"""Warm-up before the first epoch."""

from lightning import Callback, Trainer

from mher_pl.agent import Agent
from mher_pl.callbacks.progress import Progress
from mher_pl.data import data_of
from mher_pl.errors import require, require_int, require_multiple
from mher_pl.memory import require_memory


class ModelWarmup(Callback):
    """Collect random episodes and let the agent, its dynamics model that is, learn from them (Algorithm 1, line 3).

    The episodes stay in the replay and count as environment steps. Where episodes are stored ones, all of them take the
    place of the random ones, and none counts. A resumed run, whose replay is not empty, skips the warm-up.

    Args:
        episodes: episodes of uniformly random actions, a multiple of `data.num_envs`.
        updates: gradient steps of the dynamics model; without a model there are none.
        batch_size: transitions of each update.
    """

    def __init__(self, episodes: int, updates: int, batch_size: int) -> None:
        require_int("warmup.episodes", episodes, 0)
        require_int("warmup.updates", updates, 0)
        require_int("warmup.batch_size", batch_size, 1)
        self.episodes, self.updates, self.batch_size = episodes, updates, batch_size

    def setup(self, trainer: Trainer, pl_module: Agent, stage: str) -> None:
        """Refuse a number of episodes that the environments cannot collect together, and batches that are too small.

        Raises:
            UserError: it is no multiple of theirs, the agent needs more rows, or memory holds fewer.
        """
        require_multiple("warmup.episodes", self.episodes, data_of(trainer).num_envs)
        least = pl_module.least_rows
        require(self.batch_size >= least, "warmup.batch_size", self.batch_size, f"at least {least} for this agent")
        row = data_of(trainer).task.transition_bytes * pl_module.path_length
        require_memory("warmup.batch_size", self.batch_size, self.batch_size * row)

    def on_train_start(self, trainer: Trainer, pl_module: Agent) -> None:
        """Say what is to be learned, and warm up."""
        data = data_of(trainer)
        data.warmed_up = True
        if len(data.replay) > 0:
            return
        collects, bar = data.source.collects, trainer.progress_bar_callback
        if isinstance(bar, Progress):
            bar.say(f"task: {data.task}")
        if isinstance(bar, Progress) and (self.episodes > 0 or not collects):
            episodes = f"{self.episodes} random episodes" if collects else "the stored episodes"
            model = "" if pl_module.dynamics is None else f", then {self.updates} updates of the model"
            bar.say(f"warm-up: {episodes}{model}")
        if collects:
            for _ in range(0, self.episodes, data.num_envs):
                data.collect(random=True)
        else:
            data.store(data.source.all())
        if len(data.replay) > 0:
            pl_module.warm_up(data.sample(self.batch_size).to(pl_module.device) for _ in range(self.updates))
