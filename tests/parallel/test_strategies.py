import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mher_pl.parallel.strategies import count_devices, global_rank
from trained_runs import ROOT, arguments, assert_same_run, fit, run_folder, scalars, start, start_command, state

from mher_pl.__main__ import main
from mher_pl.errors import UserError
from mher_pl.parallel.board import FAILED, FINISHED, RUNNING, SeedBoard
from mher_pl.parallel.workers import average_gradients, worker_seed

SEEDS = ["--trainer.strategy=seed_parallel", "--trainer.devices=2"]
WORKERS = ["--trainer.strategy=ddp", "--trainer.devices=2"]


def run_process(root: Path, *extra: str, code: int = 0, **kwargs) -> tuple[str, str]:
    """Run a small `fit` in a process of its own, with its exit code checked, and return what it printed."""
    process = start(root, *extra, **kwargs)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == code, output + errors
    return output, errors


# Seeds side by side


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
    while not last.exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (child,) = (int(pid) for pid in children if "mher_pl" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(child, signal.SIGKILL)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "seed 1 failed (exit code -9); the other seeds go on" in output
    assert "1 of 2 seeds failed: seed 1 (exit code -9)" in errors
    assert state(run_folder(tmp_path))["/epoch"] == 59


@pytest.mark.slow
def test_sigterm_saves_every_seed(tmp_path):
    process = start(tmp_path, *SEEDS, epochs=1000)
    folders = [run_folder(tmp_path, seed=seed) for seed in (0, 1)]
    while not all((folder / "checkpoints" / "last.ckpt").exists() for folder in folders):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert all(line.startswith("interrupted by SIGTERM after ") for line in errors.splitlines())


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


# The files in which seeds tell each other


def test_the_board_shows_what_a_seed_told(tmp_path):
    board = SeedBoard(tmp_path / "seeds", first=3, seeds=2, launch="a")
    assert board.read(1).rates == {}
    board.start(1, epoch=0)
    board.report(1, 0, 300, 0.5)
    assert (board.read(1).rates, board.read(1).state) == ({0: (300, 0.5)}, RUNNING)
    board.end(1, FAILED, "why")
    assert (board.read(1).state, board.read(1).reason) == (FAILED, "why")
    assert [path.name for path in (tmp_path / "seeds").iterdir()] == ["seed_4.jsonl"]


def test_the_board_takes_nothing_from_an_earlier_launch(tmp_path):
    earlier, board = (SeedBoard(tmp_path, first=0, seeds=1, launch=launch) for launch in "ab")
    earlier.start(0, epoch=0)
    for epoch in range(3):
        earlier.report(0, epoch, epoch, 0.5)
    earlier.end(0, FINISHED)
    assert (board.read(0).rates, board.read(0).state) == ({}, RUNNING)
    board.start(0, epoch=2)
    assert (board.read(0).rates.keys(), board.read(0).state) == ({0, 1}, RUNNING)


def test_the_board_takes_nothing_from_an_earlier_launch_of_the_same_name(tmp_path):
    earlier, board = (SeedBoard(tmp_path, first=0, seeds=2, launch="none") for _ in range(2))
    earlier.start(1, epoch=0)
    earlier.end(1, FAILED, "in the earlier launch")
    os.utime(earlier.path(1), (1.0, 1.0))
    board.start(0, epoch=0)
    assert board.read(1).state == RUNNING
    earlier.start(1, epoch=0)
    earlier.report(1, 0, 300, 0.5)
    assert board.read(1).rates == {0: (300, 0.5)}


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    board = SeedBoard(tmp_path, first=0, seeds=1, launch="a")
    board.start(0, epoch=0)
    board.report(0, 0, 100, 0.5)
    with board.path(0).open("a") as file:
        file.write(json.dumps({"epoch": 1, "env_steps": 200, "success_rate": 0.5})[:-5])
    assert board.read(0).rates == {0: (100, 0.5)}


@pytest.mark.parametrize(("devices", "count"), [(4, 4), ("4", 4), ([0, 2], 2), ("0,2", 2), ("1,", 1)])
def test_devices_are_counted(devices, count):
    assert count_devices(devices) == count


@pytest.mark.parametrize("devices", ["auto", -1, 0])
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


# Data-parallel workers


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> Path:
    """Two workers, trained for four epochs, each of which wrote its own weights at the end."""
    root = tmp_path_factory.mktemp("workers")
    _, errors = run_process(root, *WORKERS, "--trainer.callbacks=trained_runs.DumpWorker")
    assert errors == ""
    return root


def test_the_parameters_and_statistics_stay_equal_on_all_workers(workers):
    first, second = (torch.load(workers / f"worker_{rank}.pt") for rank in range(2))
    assert first["weights"].keys() == second["weights"].keys()
    assert [name for name in first["weights"] if not torch.equal(first["weights"][name], second["weights"][name])] == []
    assert any("actor" in name for name in first["weights"])
    assert first["optimizers"].equal(second["optimizers"])


def test_the_workers_see_different_episodes_and_learn_from_the_same_initial_weights(workers, tmp_path):
    first, second = (torch.load(workers / f"worker_{rank}.pt") for rank in range(2))
    assert not torch.equal(first["episodes"], second["episodes"])
    assert torch.equal(first["initial"], second["initial"])
    assert fit(tmp_path, "--trainer.callbacks=trained_runs.DumpWorker", epochs=1) == 0
    alone = torch.load(tmp_path / "worker_0.pt")
    assert torch.equal(alone["initial"], first["initial"])
    assert torch.equal(alone["episodes"][:2], first["episodes"][:2])  # the random ones, before any learning


def test_every_workers_steps_count_and_one_worker_logs(workers):
    folder = run_folder(workers)
    steps = sorted({step for tag, step in scalars(folder) if tag == "eval/success_rate" and step})
    assert steps == [600, 800, 1000, 1200]  # two episodes of 100 steps each for warm-up, then one each an epoch
    assert len(list(folder.glob("events*"))) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["seed_0"]


def test_what_is_logged_is_the_mean_over_the_workers(workers):
    first, second = (torch.load(workers / f"worker_{rank}.pt")["means"] for rank in range(2))
    assert first.keys() == second.keys()
    assert first["train/critic_loss"] != second["train/critic_loss"]
    logged = {tag: value for (tag, step), value in scalars(run_folder(workers)).items() if step == 1200}
    assert {key: logged[key] for key in first} == pytest.approx({key: (first[key] + second[key]) / 2 for key in first})


def test_the_statistics_are_those_of_all_workers_data(workers):
    weights = torch.load(workers / "worker_0.pt")["weights"]
    assert (weights["inputs.normalizer.sums"][0] == 2 * 1200).all()  # two goals for each transition
    assert (weights["dynamics.input_normalizer.sums"][0] == 1200).all()


def test_gradients_become_their_mean_over_the_workers(monkeypatch):
    parameters = [torch.zeros(2, 3), torch.zeros(4)]
    for parameter in parameters:
        parameter.grad = torch.rand_like(parameter)
    expected = [(parameter.grad + 1.0) / 2 for parameter in parameters]
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradients: gradients.add_(1.0))  # the other worker's
    average_gradients(SimpleNamespace(world_size=2), parameters)
    for parameter, mean in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, mean)


@pytest.mark.slow
def test_workers_resume_exactly(tmp_path, workers):
    run_process(tmp_path, *WORKERS, epochs=2)
    run_process(tmp_path, *WORKERS, "--ckpt_path=last")
    assert_same_run(run_folder(workers), run_folder(tmp_path))


@pytest.mark.slow
def test_sigterm_stops_all_workers_after_the_same_episode_and_they_resume_exactly(tmp_path):
    options = [*WORKERS, "--data.episodes_per_epoch=2"]
    run_process(tmp_path / "whole", *options)
    signal_at = ["--trainer.callbacks=trained_runs.SignalAt", "--trainer.callbacks.epoch=1"]
    _, errors = run_process(tmp_path / "parts", *options, *signal_at, "--trainer.callbacks.episode=0", code=143)
    assert "Traceback" not in errors
    assert state(run_folder(tmp_path / "parts"))["/GoalDataModule/position"] == 1
    run_process(tmp_path / "parts", *options, "--ckpt_path=last")
    assert_same_run(run_folder(tmp_path / "whole"), run_folder(tmp_path / "parts"))


def test_a_checkpoint_of_another_number_of_workers_is_refused(tmp_path, workers, capsys):
    assert fit(tmp_path, f"--ckpt_path={run_folder(workers)}") == 1
    assert "a checkpoint of 2 workers, but this run has 1" in capsys.readouterr().err


def test_a_workers_seed_is_its_own_and_the_first_keeps_the_runs():
    assert worker_seed(7, 0) == 7
    assert len({worker_seed(seed, rank) for seed in range(3) for rank in range(3)}) == 9
