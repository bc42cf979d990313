"""Runs whose environments are in processes of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trained_runs import ROOT, run_folder, start, wait_for


@pytest.mark.parametrize(
    "signum",
    [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)],
    ids=lambda signum: signum.name,
)
def test_a_signal_to_a_run_and_the_processes_of_its_environments_saves_it(tmp_path, signum):
    options = ["--data.env=goal_tasks:Plain-v0", "--data.env_kwargs={}", "--data.num_envs=2"]
    process = start(tmp_path, *options, "--data.episodes_per_epoch=2", epochs=10_000)
    wait_for(run_folder(tmp_path, config="Plain-v0") / "checkpoints" / "last.ckpt", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    children = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(children) == 2
    for pid in (*map(int, children), process.pid):  # as a terminal does it, or a cluster
        os.kill(pid, signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    slow_path, line = errors.splitlines()
    assert "takes the slow path" in slow_path
    assert line.startswith(f"interrupted by {signum.name} after ")
    assert not any(Path(f"/proc/{pid}/fd").exists() for pid in children), "they ended, too"


def test_a_script_without_a_main_guard_is_told_so_and_leaves_no_run_of_its_processes(tmp_path):
    (tmp_path / "script.py").write_text(
        "import mher_pl\n"
        "settings = {'data.env': 'goal_tasks:Plain-v0', 'data.env_kwargs': {}, 'data.num_envs': 2}\n"
        "settings |= {'warmup.episodes': 2, 'data.episodes_per_epoch': 2, 'trainer.max_epochs': 1}\n"
        "model, data, trainer = mher_pl.load('point2d', 'her', **settings)\n"
        "trainer.fit(model, data)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    lines = done.stderr.splitlines()  # of the script and of its processes, which end in any order
    assert any(line.endswith("allowed: below if __name__ == '__main__' in a script") for line in lines)
    assert any(line.endswith("in a script all that trains below if __name__ == '__main__'") for line in lines)
    assert not list(tmp_path.glob("runs/*/*/seed_0-*"))
