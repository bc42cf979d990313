"""The strategy `ddp`: data-parallel workers."""

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from lightning import Trainer
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from mher_pl.errors import Interrupted
from mher_pl.parallel.cluster import require_meeting, require_processes
from mher_pl.parallel.workers import LOST

PATIENCE = 60.0  # seconds


class WorkerWatch(_ChildProcessObserver):
    """Ends all workers where one has failed and the first does not notice, as in a collective operation of NCCL.

    Lightning's own kills the first one within seconds, silently, and with it what it has to say.
    """

    def _terminate_all(self) -> None:
        time.sleep(PATIENCE)
        print(f"error: {LOST}", file=sys.stderr, flush=True)
        super()._terminate_all()


class WorkerLauncher(_SubprocessScriptLauncher):
    """Starts the other workers of this node, and watches them."""

    def launch(self, function: Callable, *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        """Start them, unless a cluster did, and call `function` for this one."""
        require_processes(self.cluster_environment, self.num_processes, self.num_nodes)
        require_meeting(self.cluster_environment, self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()  # what `launch` of the base class calls; that one has another watch
            WorkerWatch(os.getpid(), self.procs).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


class WorkerStrategy(DDPStrategy):
    """Data-parallel workers, as HER's MPI workers: each its own environment and replay, gradients averaged.

    Lightning's `ddp` wraps the module in DistributedDataParallel, which expects one backward pass a step; here each of
    several networks has its own, some twice. So nothing is wrapped, and the module averages gradients itself behind
    every backward pass. Equal weights from the seed, equal gradients and equal statistics keep the parameters equal on
    all workers.
    """

    strategy_name = "ddp"

    def _configure_launcher(self) -> None:  # where Lightning asks every strategy for its launcher
        environment = cast(ClusterEnvironment, self.cluster_environment)
        self._launcher = WorkerLauncher(environment, self.num_processes, self.num_nodes)

    def configure_ddp(self) -> None:
        """Leave the module unwrapped."""

    def on_exception(self, exception: BaseException) -> None:
        """Stop the other workers, which would wait for this one; after a signal in good order, if they have not."""
        super().on_exception(exception)
        if self.launcher is not None:
            self.launcher.kill(signal.SIGTERM if isinstance(exception, Interrupted) else signal.SIGKILL)
