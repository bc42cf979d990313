import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from trained_runs import (
    ROOT,
    arguments,
    fit,
    noted_threads,
    run_folder,
    run_process,
    scalars,
    start,
    start_command,
    state,
    wait_for,
)

from mher_pl.__main__ import main

SEEDS = ["--trainer.strategy=seed_parallel", "--trainer.devices=2"]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> Path:
    """Seeds 3, 4 and 5, trained side by side; the last one fails in its second epoch."""
    root = tmp_path_factory.mktemp("seeds")
    options = ["--seed_everything=3", *fail_at(seed=5, epoch=1)]
    output, errors = run_process(root, SEEDS[0], "--trainer.devices=3", *options, code=1)
    assert "seed 5 failed (NonFiniteError: " in output
    assert "2 seeds after epoch 4: " in output
    assert errors.splitlines()[-1].startswith("error: 1 of 3 seeds failed: seed 5 (NonFiniteError: ")
    assert "Traceback" not in errors
    return root


def fail_at(seed: int, epoch: int) -> list[str]:
    options = f"--trainer.callbacks.seed={seed}", f"--trainer.callbacks.epoch={epoch}"
    return ["--trainer.callbacks=trained_runs.FailAt", *options]


@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_trained_beside_others_equals_the_seed_trained_alone(tmp_path, seeds, seed):
    assert fit(tmp_path, f"--seed_everything={seed}") == 0
    beside = run_folder(seeds, seed=seed)
    alone = {key: value for key, value in scalars(run_folder(tmp_path, seed=seed)).items()}
    assert {key: value for key, value in scalars(beside).items() if not key[0].startswith("seeds/")} == alone
    a, b = state(beside), state(run_folder(tmp_path, seed=seed))
    assert {key for key in a if key.startswith("/state_dict")} == {key for key in b if key.startswith("/state_dict")}
    assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))


@pytest.mark.slow
def test_every_seed_keeps_to_the_threads_that_are_set(tmp_path):
    run_process(tmp_path, *SEEDS, "--threads=2", "--trainer.callbacks=trained_runs.NoteThreads", epochs=1)
    assert noted_threads(tmp_path) == ["[2, 2, 2]"] * 2


def test_the_first_seed_logs_median_and_quartiles_of_every_epoch(seeds):
    rates = [
        {step: value for (tag, step), value in scalars(run_folder(seeds, seed=seed)).items() if tag == name and step}
        for seed, name in ((3, "eval/success_rate"), (4, "eval/success_rate"))
    ]
    logged = scalars(run_folder(seeds, seed=3))
    assert len(rates[0]) == 4
    for step, rate in list(rates[0].items())[1:]:
        low, high = sorted((rate, rates[1][step]))
        assert logged["seeds/success_median", step] == pytest.approx((low + high) / 2)
        assert logged["seeds/success_q25", step] == pytest.approx(low + (high - low) / 4)
        assert logged["seeds/success_q75", step] == pytest.approx(high - (high - low) / 4)
    assert [logged["seeds/count", step] for step in rates[0]] == [3, 2, 2, 2]
    assert not any(tag.startswith("seeds/") for tag, _ in scalars(run_folder(seeds, seed=4)))


def test_the_saved_config_repeats_one_seed_alone(seeds):
    text = (run_folder(seeds, seed=4) / "config.yaml").read_text()
    assert "seed_everything: 4\n" in text
    assert "strategy: auto\n" in text
    assert "devices: 1\n" in text


@pytest.mark.slow
def test_seeds_resume_exactly(tmp_path, seeds):
    run_process(tmp_path, *SEEDS, "--seed_everything=3", epochs=2)
    run_process(tmp_path, *SEEDS, "--seed_everything=3", "--ckpt_path=last")
    for seed in (3, 4):
        a, b = (state(run_folder(root, seed=seed)) for root in (tmp_path, seeds))
        assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))
    logged = scalars(run_folder(tmp_path, seed=3))
    assert [logged["seeds/count", step] for step in (300, 400, 500, 600)] == [2, 2, 2, 2]


def test_a_failed_seed_keeps_its_last_checkpoint(seeds):
    assert state(run_folder(seeds, seed=5))["/epoch"] == 0


@pytest.mark.slow
def test_the_first_seed_failing_stops_neither_the_others_nor_the_summary(tmp_path):
    output, errors = run_process(tmp_path, *SEEDS, *fail_at(seed=0, epoch=1), code=1, epochs=3)
    assert "seed 0 failed (NonFiniteError: " in output
    assert "Traceback" not in errors
    assert state(run_folder(tmp_path, seed=1))["/epoch"] == 2
    logged = scalars(run_folder(tmp_path))
    steps = sorted(step for tag, step in logged if tag == "seeds/success_median")
    assert [logged["seeds/count", step] for step in steps] == [2, 1, 1]


@pytest.mark.slow
def test_a_killed_seed_is_named_and_the_other_one_finishes(tmp_path):
    process = start(tmp_path, *SEEDS, epochs=60)
    last = run_folder(tmp_path, seed=1) / "checkpoints" / "last.ckpt"
    wait_for(last, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = (int(pid) for pid in children if "mher_pl" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(child, signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "seed 1 failed (exit code -9); the other seeds go on" in output
    assert "1 of 2 seeds failed: seed 1 (exit code -9)" in errors
    assert state(run_folder(tmp_path))["/epoch"] == 59


@pytest.mark.slow
def test_where_the_first_seed_is_killed_the_others_finish(tmp_path):
    process = start(tmp_path, *SEEDS, epochs=20)
    last = run_folder(tmp_path, seed=1) / "checkpoints" / "last.ckpt"
    wait_for(last, process)
    process.kill()
    process.wait()
    until = time.monotonic() + 300
    while state(run_folder(tmp_path, seed=1))["/epoch"] < 19:
        assert time.monotonic() < until
        time.sleep(0.5)


@pytest.mark.slow
def test_sigterm_saves_every_seed(tmp_path):
    process = start(tmp_path, *SEEDS, epochs=1000)
    folders = [run_folder(tmp_path, seed=seed) for seed in (0, 1)]
    for folder in folders:
        wait_for(folder / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    lines = errors.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("interrupted by SIGTERM after ") for line in lines)
    assert all(str(folder) in errors for folder in folders)


def test_seeds_are_for_training_only(tmp_path, capsys):
    _, *rest = arguments(tmp_path, *SEEDS)
    assert main(["validate", *rest]) == 1
    assert "trainer.strategy is 'seed_parallel' in validate; allowed: in fit" in capsys.readouterr().err


@pytest.mark.slow
def test_torchrun_gives_the_seeds_their_global_ranks(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mher_pl"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    args = arguments(tmp_path / "torchrun", *SEEDS, "--seed_everything=3")
    subprocess.run([*command, *args], check=True, env=env, cwd=ROOT)
    assert fit(tmp_path / "alone", "--seed_everything=4") == 0
    a, b = (state(run_folder(tmp_path / name, seed=4)) for name in ("torchrun", "alone"))
    assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))
    assert ("seeds/success_median", 600) in scalars(run_folder(tmp_path / "torchrun", seed=3))


@pytest.mark.slow
def test_under_torchrun_a_failing_seed_lets_the_others_finish(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mher_pl"]
    fail = fail_at(seed=1, epoch=1)
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([*command, *arguments(tmp_path, *SEEDS, *fail)], env=env, cwd=ROOT)
    assert done.returncode != 0
    assert state(run_folder(tmp_path))["/epoch"] == 3
    assert state(run_folder(tmp_path, seed=1))["/epoch"] == 0


@pytest.mark.slow
def test_slurm_gives_the_seeds_their_global_ranks(tmp_path):
    args = arguments(tmp_path, *SEEDS, "--seed_everything=3", "--trainer.num_nodes=2")
    slurm = {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "x", "SLURM_JOB_ID": "7001"}
    slurm["SLURM_STEP_NUM_TASKS"] = "4"  # which srun sets
    processes = [
        start_command(
            *args,
            env=slurm
            | {
                "SLURM_PROCID": str(rank),
                "SLURM_LOCALID": str(rank % 2),
                "SLURM_NODEID": str(rank // 2),
                "SLURM_JOB_NUM_NODES": "2",
                "SLURM_NODELIST": "127.0.0.1",
            },
        )
        for rank in range(4)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, output + errors
    names = sorted(path.name for path in run_folder(tmp_path).parent.glob("seed_*"))
    assert names == ["seed_3", "seed_4", "seed_5", "seed_6"]
    assert scalars(run_folder(tmp_path, seed=3))["seeds/count", 600] == 4


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_seeds_train_on_gpus(tmp_path):
    run_process(tmp_path, *SEEDS, "--trainer.accelerator=gpu", epochs=2)
    assert scalars(run_folder(tmp_path))["seeds/count", 400] == 2


@pytest.mark.slow
def test_a_seed_of_mher_plus_beside_others_equals_the_seed_alone(tmp_path):
    options = ["--config=mher_plus", "--data.batches_per_episode=3", "--seed_everything=3"]
    run_process(tmp_path / "beside", *SEEDS, *options)
    run_process(tmp_path / "alone", *options)
    a, b = (state(tmp_path / root / "Point2DLarge-v1/mher_plus/seed_3") for root in ("beside", "alone"))
    assert {key for key in a if key.startswith("/state_dict")} == {key for key in b if key.startswith("/state_dict")}
    assert all(torch.equal(a[key], b[key]) for key in a if isinstance(a[key], torch.Tensor))
