import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from lightning import Callback
from trained_runs import assert_same_run, fit, noted_threads, run_folder, run_process, scalars, state

from mher_pl.parallel import ddp

WORKERS = ["--trainer.strategy=ddp", "--trainer.devices=2", "--threads=2"]


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> Path:
    """Two workers, trained for four epochs, each of which wrote its own weights at the end."""
    root = tmp_path_factory.mktemp("workers")
    callbacks = ["--trainer.callbacks=trained_runs.DumpWorker", "--trainer.callbacks+=trained_runs.NoteThreads"]
    _, errors = run_process(root, *WORKERS, *callbacks)
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


def test_every_worker_keeps_to_the_threads_that_are_set(workers):
    assert noted_threads(workers) == ["[2, 2, 2]"] * 2


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


class KillAt(Callback):
    """Kills one worker in the third epoch."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if (trainer.current_epoch, trainer.global_rank) == (2, self.rank):
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "code"), [(0, -signal.SIGKILL), (1, 1)])
def test_a_killed_worker_is_one_line_and_the_run_goes_on_from_its_last_checkpoint(tmp_path, workers, rank, code):
    kill = ["--trainer.callbacks=tests.parallel.test_ddp.KillAt", f"--trainer.callbacks.rank={rank}"]
    _, errors = run_process(tmp_path, *WORKERS, *kill, code=code)
    lines = [line for line in errors.splitlines() if "resource_tracker" not in line]  # Python's, of what was killed
    assert len(lines) == 1, errors
    assert lines[0].startswith("error: a data-parallel worker is gone, killed or failed; ")
    assert ("--ckpt_path last goes on from the last checkpoint" in errors) == (rank == 1)  # the first one writes
    assert state(run_folder(tmp_path))["/epoch"] in (0, 1)
    run_process(tmp_path, *WORKERS, "--ckpt_path=last")
    assert_same_run(run_folder(workers), run_folder(tmp_path))


def test_where_the_first_worker_does_not_notice_it_is_ended_with_the_same_line(monkeypatch, capsys):
    killed = []
    monkeypatch.setattr(ddp, "PATIENCE", 0.0)
    monkeypatch.setattr(os, "kill", lambda pid, signum: killed.append((pid, signum)))
    with subprocess.Popen(["false"]) as failed:
        failed.wait()
        assert ddp.WorkerWatch(1234, [failed])._run()
    assert killed == [(1234, signal.SIGKILL)]
    assert capsys.readouterr().err.startswith("error: a data-parallel worker is gone, killed or failed; ")


def test_a_checkpoint_of_another_number_of_workers_is_refused(tmp_path, workers, capsys):
    assert fit(tmp_path, f"--ckpt_path={run_folder(workers)}") == 1
    assert "a checkpoint of 2 workers, but this run has 1" in capsys.readouterr().err


@pytest.mark.slow
def test_workers_of_mher_plus_resume_exactly(tmp_path):
    options = [*WORKERS, "--config=mher_plus", "--data.batches_per_episode=3"]
    for root, epochs in (("whole", 4), ("parts", 2)):
        run_process(tmp_path / root, *options, epochs=epochs)
    run_process(tmp_path / "parts", *options, "--ckpt_path=last")
    assert_same_run(*(tmp_path / root / "Point2DLarge-v1/mher_plus/seed_0" for root in ("whole", "parts")))
