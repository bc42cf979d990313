"""Which of several processes this one is, asked before there is a trainer."""

import os
import re
from typing import Any

from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from mher_pl.errors import UserError


def global_rank(devices: Any) -> int:
    """Return this process's rank over all nodes before there is a trainer, from what its launcher left in `environ`.

    Args:
        devices: the trainer's setting of that name, processes of a node.

    Raises:
        UserError: on a further node, where the rank depends on it, the number of devices is not said.
    """
    environment = cluster_environment()
    if not isinstance(environment, LightningEnvironment):
        return environment.global_rank()
    node = environment.node_rank()
    return environment.local_rank() + (node * count_devices(devices) if node > 0 else 0)


def cluster_environment() -> ClusterEnvironment:
    """Return the cluster environment that Lightning will choose.

    Raises:
        UserError: Lightning does not support what the cluster was asked for.
    """
    for environment in (TorchElasticEnvironment, SLURMEnvironment, LSFEnvironment, MPIEnvironment):
        if environment.detect():
            try:
                return environment()
            except RuntimeError as error:
                raise UserError(" ".join(str(error).split())) from error
    return LightningEnvironment()


def require_processes(environment: ClusterEnvironment, devices: int, nodes: int) -> None:
    """Raise `UserError` where a cluster started other processes than the trainer counts on.

    Lightning goes by what SLURM was asked for; where `srun` is missing, or starts fewer, too few would train, or wait.
    """
    environment.validate_settings(num_devices=devices, num_nodes=nodes)
    started = environment.world_size()
    if isinstance(environment, SLURMEnvironment):
        started = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))  # which `srun` sets
    if environment.creates_processes_externally and started != devices * nodes:
        raise UserError(
            f"trainer.devices is {devices} on {nodes} node{'s' * (nodes > 1)}, but the cluster started {started} "
            f"process{'es' * (started > 1)}; allowed: as many processes as devices, by "
            f"srun --ntasks-per-node={devices} under SLURM"
        )


def require_meeting(environment: ClusterEnvironment, nodes: int) -> None:
    """Raise `UserError` where nobody says how workers of several nodes find each other: they would wait for ever."""
    said = {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys() and {"NODE_RANK", "GROUP_RANK"} & os.environ.keys()
    if nodes > 1 and isinstance(environment, LightningEnvironment) and not said:
        raise UserError(
            f"trainer.num_nodes is {nodes}, but no cluster started this process; allowed: 1, or the command on every "
            "node with the variables MASTER_ADDR, MASTER_PORT and NODE_RANK"
        )


def count_devices(devices: Any) -> int:
    """Count the devices of a node that a setting `4`, `"4"`, `[0, 1]` or `"0,1"` names."""
    count = len(devices) if isinstance(devices, list) else devices
    if isinstance(devices, str) and re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*,?\s*", devices):
        count = len(devices.strip(", ").split(",")) if "," in devices else int(devices)
    if type(count) is not int or count < 1:
        raise UserError(f"trainer.devices is {devices!r}; allowed with several nodes: a number, or a list")
    return count
