import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_sweeps import TESTS, grid_file, log_says, wait_until, write

from mher_pl.compare import grid, sweep
from mher_pl.compare.job import Job
from mher_pl.compare.report import main as report
from mher_pl.compare.slurm import SlurmFit
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import UserError

START = TESTS / "start_slurm.sh"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A SLURM of this machine alone, which commands find by the environment."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"SLURM is not installed: there is no {' and no '.join(missing)}")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([START, folder], check=True, timeout=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        yield
    subprocess.run([START, "--stop", folder], check=True, timeout=120)


@pytest.fixture
def srun(workspace, monkeypatch):
    """A command of SLURM's, which submitit looks for where it submits."""
    pytest.importorskip("submitit")
    Path(write("bin/srun")).chmod(0o755)
    monkeypatch.setenv("PATH", f"{workspace / 'bin'}{os.pathsep}{os.environ['PATH']}")


def test_a_missing_submitit_is_named_with_the_way_to_get_it(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        UserError, match=r"--engine is slurm, which needs submitit; allowed: local, ray, or pip install"
    ):
        sweep.main([grid_file(), "--engine", "slurm"])


def test_a_machine_without_slurm_is_told_so(workspace, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="--engine is slurm, but there is no srun here; allowed: on a machine of a"):
        sweep.main([grid_file(slurm={"timeout_min": 5}), "--engine", "slurm"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([5], r"slurm is \[5\]; allowed: settings of submitit's AutoExecutor, such as timeout_min: 60"),
        ({}, "slurm has no timeout_min; allowed with --engine slurm: at least the minutes of a job"),
        ({"timeout_min": "1h"}, r'slurm is .*\(Parameter "timeout_min" expected type'),
        ({"timeout_min": 5, "slurm_cores": 2}, r"slurm is .*\(Unknown argument 'cores' for executor 'slurm'"),
        ({"timeout_min": 5, "nodes": 2}, "slurm.nodes is 2; allowed: 1, for a cell is one process"),
    ],
)
def test_bad_settings_of_the_cluster_are_named_before_the_first_cell(srun, settings, message):
    with pytest.raises(UserError, match=message):
        sweep.main([grid_file(slurm=settings), "--engine", "slurm"])
    assert not list(Path("out").rglob("*"))


def test_a_fit_that_is_asked_to_make_way_saves_and_goes_on_when_it_is_started_again(workspace, monkeypatch):
    submitit = pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parent))
    (one,) = read_sweep(Path(grid_file(overrides={"behave": "hang", "trainer.max_epochs": 2}))).cells()
    executor = submitit.LocalExecutor("jobs")  # it treats the signal as a SLURM job does, and starts the job again
    executor.update_parameters(timeout_min=5)
    submitted = executor.submit(SlurmFit(Job(one.command(), "fit", one.log.resolve(), workspace, {})))
    wait_until(lambda: log_says("waiting"))
    fit = int(one.log.read_text().split()[-1])
    os.kill(fit, submitit.JobEnvironment._usr_sig())  # SLURM sends it to every process of the job
    os.kill(parent_of(fit), submitit.JobEnvironment._usr_sig())
    wait_until(lambda: log_says("saved"))
    wait_until(lambda: one.log.read_text().count("waiting") == 2)
    os.kill(int(one.log.read_text().split()[-1]), signal.SIGTERM)
    assert submitted.result() == 128 + signal.SIGTERM  # of the second start, which nobody but us asked to end
    assert one.is_finished()


def parent_of(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def real_sweep(folder, epochs, overrides=(), **settings):
    """Write a sweep of two cells, with a cluster's settings of their own."""
    content = {
        "tasks": ["point2d"],
        "algorithms": ["mher"],
        "seeds": 2,
        "jobs": 2,
        "out": str(folder / "out"),
        "overrides": {"trainer.max_epochs": epochs, "evaluation.episodes": 10} | dict(overrides),
        "slurm": {"timeout_min": 10, "cpus_per_task": 1, "gpus_per_node": 0, "mem_gb": 1} | settings,
    }
    return write(folder / "sweep.yaml", **content)


def start(path):
    command = [*grid.FIT[:-1], "sweep", str(path), "--engine", "slurm"]
    return subprocess.Popen(command, cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def logs(folder):
    return [(folder / f"out/point2d/mher/seed_{seed}/fit.log") for seed in range(2)]


def say(paths, text):
    return all(path.is_file() and text in path.read_text() for path in paths)


def require_that_each_went_on(folder, epochs):
    """Each cell was interrupted, went on from where it was, and has every epoch once."""
    for path in logs(folder):
        text = path.read_text()
        assert text.count("interrupted by SIGTERM after ") == text.count(" goes on after epoch ") > 0
        assert text.count("this begins one") == text.count("warm-up: ") == 1
        for epoch in range(1, epochs + 1):
            assert text.count(f"steps, epoch {epoch}, success rate") == 1


@pytest.mark.slow
def test_preempted_cells_go_on_from_where_they_were(slurm, tmp_path, capsys):
    process = start(real_sweep(tmp_path, 40, slurm_partition="main"))
    wait_until(lambda: say(logs(tmp_path), "epoch 2, success rate"), seconds=120)
    urgent = ["srun", "--partition=urgent", "--exclusive", "sleep", "1"]
    subprocess.run(urgent, check=True, timeout=60)  # which starts once the preempted ones have made way
    assert say(logs(tmp_path), "interrupted by SIGTERM after ")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert "[2/2] finished" in out
    require_that_each_went_on(tmp_path, epochs=40)
    assert report([str(tmp_path / "out"), "--out", str(tmp_path / "tables")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_cells_that_take_longer_than_a_job_may_go_on_in_further_ones(slurm, tmp_path):
    # Fits of more than a minute, on any machine; SLURM tells them up to half a minute before it is asked to.
    process = start(real_sweep(tmp_path, 150, timeout_min=1, slurm_signal_delay_s=5, slurm_max_num_timeout=100))
    out, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, out
    require_that_each_went_on(tmp_path, epochs=150)


@pytest.mark.slow
def test_what_slurm_refuses_and_what_it_cancels_fails_with_a_line(slurm, tmp_path):
    process = start(real_sweep(tmp_path, 40, slurm_partition="none"))
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "failed    point2d/mher/seed_0  SLURM refuses it: sbatch: error: invalid partition specified: none" in out

    process = start(real_sweep(tmp_path, 1000))
    wait_until(lambda: say(logs(tmp_path), "epoch 2, success rate"), seconds=120)
    subprocess.run(["scancel", "--user", str(os.getuid())], check=True)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "failed    point2d/mher/seed_0  SLURM ended job " in out
    assert say(logs(tmp_path), "interrupted by SIGTERM after ")


@pytest.mark.slow
def test_an_interrupted_sweep_takes_its_jobs_out_of_the_queue_and_they_save(slurm, tmp_path):
    process = start(real_sweep(tmp_path, 1000))
    wait_until(lambda: say(logs(tmp_path), "epoch 2, success rate"), seconds=120)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped: 0 of 2 cells are finished; the same command goes on from here" in out
    wait_until(lambda: say(logs(tmp_path), "interrupted by SIGTERM after "))
    queue = ["squeue", "--noheader"]
    wait_until(lambda: not subprocess.run(queue, capture_output=True, check=True).stdout, seconds=60)


@pytest.mark.slow
def test_a_fit_on_several_devices_has_them_all_within_a_job(slurm, tmp_path):
    devices = {"trainer.devices": 2, "trainer.strategy": "ddp"}
    process = start(real_sweep(tmp_path, 1, devices, cpus_per_task=2))
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert say(logs(tmp_path), "\n4200 env steps, epoch 1")  # 2000 of random episodes and 100 of an epoch, by each
