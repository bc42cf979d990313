"""The strategy `seed_parallel`: one independent seed a device."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only as fabric_rank_zero_only
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from mher_pl.errors import Interrupted
from mher_pl.parallel.cluster import require_processes


class SeedLauncher(_SubprocessScriptLauncher):  # private, and the only one that starts the program again
    """Starts one process a seed on this node, and lets each end in its own time and its own way.

    Lightning's launcher kills all processes when one fails; here the others go on.
    """

    def launch(self, function: Callable, *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        """Start the other seeds, unless a cluster did, and call `function` for this one."""
        require_processes(self.cluster_environment, self.num_processes, self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()  # what `launch` of the base class calls; that one kills at a failure
            atexit.register(self.wait)  # whatever happens to this seed, the command ends after the last one
        return function(*args, **kwargs)

    def exit_codes(self) -> dict[int, int | None]:
        """Return the exit code of each process started here by its global rank; None while it runs."""
        first = self.cluster_environment.node_rank() * self.num_processes + 1
        return {first + index: process.poll() for index, process in enumerate(self.procs)}

    def wait(self) -> None:
        """Wait for the processes started here."""
        for process in self.procs:
            process.wait()


class SeedParallelStrategy(ParallelStrategy):
    """Trains one independent seed on each device: seed = base + global rank, and nothing is exchanged.

    To Lightning every process is the only one of its run, so each logs and saves on its own. Which seed a process
    trains must be known before its environment and networks exist, so the command line decides it (`global_rank`).
    """

    strategy_name = "seed_parallel"
    # Lightning sets these before it calls anything below; its own types allow for None.
    cluster_environment: ClusterEnvironment
    parallel_devices: list[torch.device]
    launcher: SeedLauncher
    model: torch.nn.Module

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_nodes = 1
        self.seed_rank, self.seeds = 0, 1

    def _configure_launcher(self) -> None:  # where Lightning asks every strategy for its launcher
        self._launcher = SeedLauncher(self.cluster_environment, len(self.parallel_devices), self.num_nodes)

    def set_world_ranks(self) -> None:
        """Number the seeds over all nodes; for logging and saving every process is the first."""
        environment, devices = self.cluster_environment, len(self.parallel_devices)
        environment.set_global_rank(environment.node_rank() * devices + environment.local_rank())
        environment.set_world_size(self.num_nodes * devices)
        self.seed_rank, self.seeds = environment.global_rank(), environment.world_size()
        rank_zero_only.rank = fabric_rank_zero_only.rank = 0  # type: ignore[attr-defined]  # an attribute of a function

    @property
    def root_device(self) -> torch.device:
        """The device of this seed."""
        return self.parallel_devices[self.cluster_environment.local_rank()]

    @property
    def global_rank(self) -> int:
        """0: each run is on its own."""
        return 0

    @property
    def world_size(self) -> int:
        """1: each run is on its own."""
        return 1

    def on_exception(self, exception: BaseException) -> None:
        """Pass a signal on that came before training: the other seeds end with this one."""
        super().on_exception(exception)
        if isinstance(exception, Interrupted) and self.launcher is not None:
            self.launcher.kill(signal.SIGTERM)

    def model_to_device(self) -> None:
        """Move the module to the device of this seed."""
        self.model.to(self.root_device)

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait for nobody."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Return `obj`."""
        return obj

    def reduce(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return `tensor`."""
        return tensor

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """Return `decision`."""
        return decision

    def all_gather(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return `tensor`."""
        return tensor
