"""The strategy `ddp`: data-parallel workers."""

import signal

from lightning.pytorch.strategies import DDPStrategy

from mher_pl.errors import Interrupted


class WorkerStrategy(DDPStrategy):
    """Data-parallel workers, as HER's MPI workers: each its own environment and replay, gradients averaged.

    Lightning's `ddp` wraps the module in DistributedDataParallel, which expects one backward pass a step; here each of
    several networks has its own, some twice. So nothing is wrapped, and the module averages gradients itself behind
    every backward pass. Equal weights from the seed, equal gradients and equal statistics keep the parameters equal on
    all workers.
    """

    strategy_name = "ddp"

    def configure_ddp(self) -> None:
        """Leave the module unwrapped."""

    def on_exception(self, exception: BaseException) -> None:
        """Stop the other workers, which would wait for this one; after an orderly interruption they stop themselves."""
        super().on_exception(exception)
        if not isinstance(exception, Interrupted) and self.launcher is not None:
            self.launcher.kill(signal.SIGKILL)
