import pytest
from trained_runs import arguments, start_command

from mher_pl.errors import UserError
from mher_pl.parallel.cluster import (
    cluster_environment,
    count_devices,
    global_rank,
    require_meeting,
    require_processes,
)


@pytest.mark.parametrize(("devices", "count"), [(4, 4), ("4", 4), ([0, 2], 2), ("0,2", 2), ("1,", 1)])
def test_devices_are_counted(devices, count):
    assert count_devices(devices) == count


@pytest.mark.parametrize("devices", ["auto", -1, 0, "-1", "", "cuda", "0,x", True])
def test_several_nodes_need_a_number_of_devices(devices):
    with pytest.raises(UserError, match=r"trainer\.devices is .*; allowed with several nodes: a number, or a list"):
        count_devices(devices)


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "2"}, 2),
        ({"LOCAL_RANK": "2", "NODE_RANK": "3"}, 14),
        ({"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "6"}, 6),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "LOCAL_RANK": "1"}, 5),
    ],
)
def test_the_global_rank_is_known_before_there_is_a_trainer(monkeypatch, variables, rank):
    for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert global_rank(4) == rank


@pytest.mark.parametrize("strategy", ["seed_parallel", "ddp"])
def test_a_cluster_that_started_too_few_processes_is_refused(tmp_path, strategy):
    slurm = {"NTASKS": "1", "JOB_NAME": "x", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "NODELIST": "127.0.0.1"}
    variables = {f"SLURM_{name}": value for name, value in slurm.items()}
    options = f"--trainer.strategy={strategy}", "--trainer.devices=2"
    process = start_command(*arguments(tmp_path, *options), env=variables)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == (
        "error: trainer.devices is 2 on 1 node, but the cluster started 1 process; allowed: as many processes as "
        "devices, by srun --ntasks-per-node=2 under SLURM"
    )
    assert not list(tmp_path.rglob("seed_*"))


@pytest.mark.parametrize(
    ("variables", "started"),
    [
        ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}, "1 process;"),
        ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_NUM_TASKS": "4"}, "4 processes;"),
    ],
    ids=["without srun", "a larger step"],
)
def test_what_a_cluster_started_counts_and_not_what_it_was_asked_for(monkeypatch, variables, started):
    for name, value in (variables | {"SLURM_JOB_NAME": "x"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"trainer.devices is 2 on 1 node, but the cluster started {started}"):
        require_processes(cluster_environment(), devices=2, nodes=1)


def test_several_nodes_need_something_that_brings_them_together(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    require_meeting(cluster_environment(), nodes=1)
    for name, value in {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "0"}.items():
        with pytest.raises(UserError, match=r"trainer\.num_nodes is 2, but no cluster started this process; allowed"):
            require_meeting(cluster_environment(), nodes=2)
        monkeypatch.setenv(name, value)
    require_meeting(cluster_environment(), nodes=2)


def test_as_many_processes_as_devices_are_right(monkeypatch):
    slurm = {"NTASKS": "4", "NTASKS_PER_NODE": "2", "STEP_NUM_TASKS": "4", "NNODES": "2", "JOB_NAME": "x"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    require_processes(cluster_environment(), devices=2, nodes=2)
