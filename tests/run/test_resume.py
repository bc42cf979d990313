import random
import signal
import time
from pathlib import Path

import pytest
import torch
from trained_runs import ROOT, assert_same_run, fit, run_folder, scalars, start, state, table, wait_for

from mher_pl.__main__ import main

RESUME = "--ckpt_path=last"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of four epochs of two episodes without interruption."""
    root = tmp_path_factory.mktemp("whole")
    assert fit(root, "--data.episodes_per_epoch=2") == 0
    return run_folder(root)


def signal_at(epoch: int, episode: int | None, signum: int = signal.SIGTERM) -> list[str]:
    options = {"epoch": epoch, "signum": int(signum)} | ({} if episode is None else {"episode": episode})
    return ["--trainer.callbacks=trained_runs.SignalAt", *(f"--trainer.callbacks.{k}={v}" for k, v in options.items())]


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("point2d", "Point2DLarge-v1"),
        pytest.param("reacher", "Reacher-v1", marks=pytest.mark.slow),
        pytest.param("fetch", "FetchReach-v4", marks=pytest.mark.slow),
        pytest.param("sawyer", "SawyerReachXYZ-v1", marks=pytest.mark.slow),
    ],
)
def test_n_epochs_and_n_more_in_a_new_process_equal_2n_epochs(tmp_path, config, folder):
    episodes = "--data.episodes_per_epoch=1"
    assert fit(tmp_path / "whole", episodes, config=config) == 0
    assert fit(tmp_path / "parts", episodes, config=config, epochs=2) == 0
    process = start(tmp_path / "parts", episodes, RESUME, config=config)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert errors == ""
    assert_same_run(run_folder(tmp_path / "whole", config=folder), run_folder(tmp_path / "parts", config=folder))


def test_n_epochs_and_n_more_of_a_task_with_physics_equal_2n_epochs(tmp_path):
    episodes = "--data.episodes_per_epoch=1"
    assert fit(tmp_path / "whole", episodes, config="reacher") == 0
    assert fit(tmp_path / "parts", episodes, config="reacher", epochs=2) == 0
    assert fit(tmp_path / "parts", episodes, RESUME, config="reacher") == 0
    assert_same_run(*(run_folder(tmp_path / name, config="Reacher-v1") for name in ("whole", "parts")))


@pytest.mark.slow
@pytest.mark.parametrize(
    "overlay",
    sorted(path for path in ROOT.glob("configs/algorithms/*.yaml") if path.stem not in ("mher_grasp", "mher_relay")),
    ids=lambda path: path.stem,
)  # without those for objects: tests/test_relay.py
def test_every_algorithm_resumes_exactly(tmp_path, overlay, monkeypatch):
    monkeypatch.setattr("trained_runs.SMALL_DYNAMICS", [])
    options = ["--config", str(overlay)]
    if overlay.stem.startswith("plangan"):
        options += ["--model.planner.copies=2", "--model.planner.steps=3", "--warmup.updates=2", "--warmup.episodes=2"]
        options += ["--data.batches_per_episode=2", "--trainer.check_val_every_n_epoch=1", "--evaluation.episodes=2"]
    assert fit(tmp_path / "whole", *options) == 0
    assert fit(tmp_path / "parts", *options, epochs=2) == 0
    assert fit(tmp_path / "parts", *options, RESUME) == 0
    (whole,), (parts,) = (list((tmp_path / name).glob("*/*/seed_0")) for name in ("whole", "parts"))
    assert_same_run(whole, parts)


@pytest.mark.parametrize("episode", [0, 1, None], ids=lambda episode: f"episode {episode}")
def test_a_run_stopped_by_sigterm_at_any_episode_resumes_exactly(tmp_path, whole, episode, capsys):
    options = ["--data.episodes_per_epoch=2"]
    assert fit(tmp_path, *options, *signal_at(1, episode)) == 143
    assert fit(tmp_path, *options, RESUME) == 0
    assert_same_run(whole, run_folder(tmp_path))
    errors = capsys.readouterr().err
    assert errors.startswith("interrupted by SIGTERM after ")
    assert errors.count("\n") == 1


def test_a_checkpoint_callback_of_the_users_own_changes_nothing_of_that(tmp_path):
    own = "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint"
    assert fit(tmp_path, "--data.episodes_per_epoch=3", *signal_at(1, 1), own) == 143
    assert state(run_folder(tmp_path))["/GoalDataModule/position"] == 2
    config, checkpoint = (str(run_folder(tmp_path) / name) for name in ("config.yaml", "checkpoints/last.ckpt"))
    assert main(["test", "--config", config, "--ckpt_path", checkpoint, "--evaluation.episodes=2"]) == 0


def test_stopping_within_an_epoch_saves_within_it(tmp_path):
    assert fit(tmp_path, "--data.episodes_per_epoch=3", *signal_at(1, 1)) == 143
    assert state(run_folder(tmp_path))["/GoalDataModule/position"] == 2


STOPPING = [  # early, after the second epoch: nothing is as much better
    "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
    *(f"--trainer.callbacks.{key}" for key in ("monitor=eval/success_rate", "mode=max", "patience=1", "min_delta=10")),
]


@pytest.mark.parametrize("episode", [1, None], ids=["last episode", "evaluation"])
@pytest.mark.parametrize("end", [STOPPING, ["--trainer.max_steps=8"]], ids=["early stopping", "max_steps"])
def test_a_signal_in_the_epoch_that_ends_the_run_changes_nothing(tmp_path, capsys, end, episode):
    options = ["--data.episodes_per_epoch=2", "--data.batches_per_episode=2"]
    assert fit(tmp_path / "whole", *options, *signal_at(7, 0), *end) == 0
    assert fit(tmp_path / "signalled", *options, *signal_at(1, episode), *end) == 0
    assert_same_run(run_folder(tmp_path / "whole"), run_folder(tmp_path / "signalled"))
    assert state(run_folder(tmp_path / "signalled"))["/epoch"] == 1


def test_an_evaluation_within_an_epoch_is_not_lost_to_a_signal_right_before_it(tmp_path):
    options = ["--data.episodes_per_epoch=4", "--trainer.val_check_interval=2"]
    assert fit(tmp_path / "whole", *options, epochs=2) == 0
    assert fit(tmp_path / "parts", *options, *signal_at(1, 1), epochs=2) == 143
    assert state(run_folder(tmp_path / "parts"))["/GoalDataModule/position"] == 3
    assert fit(tmp_path / "parts", *options, RESUME, epochs=2) == 0
    assert_same_run(run_folder(tmp_path / "whole"), run_folder(tmp_path / "parts"))


def test_a_run_that_ended_early_is_left_as_it_is_until_a_setting_changes(tmp_path, capsys):
    assert fit(tmp_path, *STOPPING) == 0
    capsys.readouterr()
    assert fit(tmp_path, *STOPPING, RESUME) == 0
    assert "nothing left to train: all 2 epochs are in" in capsys.readouterr().out
    assert fit(tmp_path, RESUME) == 0
    assert state(run_folder(tmp_path))["/epoch"] == 3


def test_a_longer_training_of_a_complete_run_that_is_interrupted_at_once_is_not_complete(tmp_path):
    options = [*signal_at(2, 1), "--data.episodes_per_epoch=3"]
    assert fit(tmp_path, *options, epochs=2) == 0
    assert fit(tmp_path, *options, RESUME, epochs=3) == 143
    assert fit(tmp_path, *options, RESUME, epochs=3) == 0
    assert [line[0] for line in table(run_folder(tmp_path)) if line[2] == "ended"] == [3]


def test_a_complete_run_keeps_the_settings_that_it_was_trained_with(tmp_path, capsys):
    assert fit(tmp_path, "--model.discount=0.9", epochs=2) == 0
    before = (run_folder(tmp_path) / "config.yaml").read_text()
    assert fit(tmp_path, RESUME, epochs=2) == 0
    assert "nothing left to train" in capsys.readouterr().out
    assert (run_folder(tmp_path) / "config.yaml").read_text() == before


def test_an_epoch_cut_short_by_the_trainer_is_followed_by_a_whole_new_one(tmp_path):
    limit = ["--data.episodes_per_epoch=3", "--trainer.limit_train_batches=2"]  # a step is an episode
    assert fit(tmp_path / "whole", *limit, epochs=3) == 0
    assert fit(tmp_path / "parts", *limit, epochs=1) == 0
    assert fit(tmp_path / "parts", *limit, RESUME, epochs=3) == 0
    assert state(run_folder(tmp_path / "whole"))["/GoalDataModule/env_steps"] == 800
    assert_same_run(run_folder(tmp_path / "whole"), run_folder(tmp_path / "parts"))


def test_a_run_cut_within_an_epoch_by_the_trainer_goes_on_with_whole_epochs(tmp_path):
    episodes = "--data.episodes_per_epoch=2"
    steps = "--trainer.max_steps=1"  # a step is an episode
    assert fit(tmp_path, episodes, steps, epochs=3) == 0
    assert fit(tmp_path, episodes, RESUME, epochs=3) == 0
    assert state(run_folder(tmp_path))["/GoalDataModule/env_steps"] == 700  # one episode, then two epochs of two
    evaluated = [step for tag, step in scalars(run_folder(tmp_path)) if tag == "eval/success_rate" and step > 0]
    assert sorted(evaluated) == [500, 700]


def test_a_resume_tells_which_settings_it_changes_and_refuses_another_task(tmp_path, capsys):
    assert fit(tmp_path, epochs=1) == 0
    capsys.readouterr()
    assert fit(tmp_path, RESUME, "--model.discount=0.5", epochs=2) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[:3] == [
        f"{run_folder(tmp_path)} goes on after epoch 1, 300 environment steps",
        "it goes on with another setting: trainer.max_epochs is 2, was 1",
        "it goes on with another setting: model.discount is 0.5, was 0.99",
    ]
    assert out.count("another setting") == 2
    assert fit(tmp_path, RESUME, "--data.env_kwargs.boundary_dist=4.0", epochs=3) == 1
    errors = capsys.readouterr().err
    assert "data.env_kwargs is {'boundary_dist': 4.0}; allowed: {'boundary_dist': 5.0}, as in the checkpoint" in errors


def test_an_argument_that_a_callback_saves_is_the_configs_after_a_resume(tmp_path):
    stopping = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=train/model_loss"]
    stopping += ["--trainer.callbacks.mode=max", "--trainer.callbacks.min_delta=1000.0"]  # nothing is an improvement
    assert fit(tmp_path, *stopping, "--trainer.callbacks.patience=1000", epochs=2) == 0
    assert fit(tmp_path, *stopping, "--trainer.callbacks.patience=1", RESUME) == 0
    assert table(run_folder(tmp_path))[-1][0] == 3, "it stops where the second patience ends"


def test_a_run_that_still_trains_is_left_alone_and_sigterm_ends_it_with_one_line(tmp_path, capsys):
    process = start(tmp_path, epochs=1000)
    wait_for(run_folder(tmp_path) / "checkpoints" / "last.ckpt", process)
    assert fit(tmp_path, RESUME, epochs=1000) == 1
    error = capsys.readouterr().err
    assert "which another process trains; allowed: a run that has ended, or a copy of its folder where" in error
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.count("\n") == 1
    assert errors.startswith("interrupted by SIGTERM after ")
    assert state(run_folder(tmp_path))["/epoch"] >= 0


def test_stopped_again_and_again_it_still_ends_the_same(tmp_path, whole):
    options = ["--data.episodes_per_epoch=2"]
    assert fit(tmp_path, *options, *signal_at(0, 0)) == 143
    for epoch, episode in ((0, 1), (3, 0)):
        assert fit(tmp_path, *options, RESUME, *signal_at(epoch, episode)) == 143
    assert fit(tmp_path, *options, RESUME) == 0
    assert_same_run(whole, run_folder(tmp_path))


def test_ctrl_c_is_one_line_and_130_and_the_run_resumes_exactly(tmp_path, whole, capsys):
    options = ["--data.episodes_per_epoch=2"]
    assert fit(tmp_path, *options, *signal_at(2, 0, signal.SIGINT)) == 130
    errors = capsys.readouterr().err
    assert errors.startswith("interrupted by SIGINT after ")
    assert errors.count("\n") == 1
    assert fit(tmp_path, *options, RESUME) == 0
    assert_same_run(whole, run_folder(tmp_path))


@pytest.mark.slow
def test_ctrl_c_before_training_is_one_line_too(tmp_path):
    process = start(tmp_path, epochs=1000)
    wait_for(run_folder(tmp_path), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_ends_as_if_it_had_not_been(tmp_path):
    epochs, kills, rng = 600, 0, random.Random(0)
    whole = start(tmp_path / "whole", epochs=epochs)
    whole.communicate()
    assert whole.returncode == 0
    folder = run_folder(tmp_path / "parts")
    last = folder / "checkpoints" / "last.ckpt"
    process = start(tmp_path / "parts", epochs=epochs)
    while True:
        if kills < 5:  # while it starts, or warms up
            time.sleep(rng.uniform(1.0, 8.0))
        else:
            wait_for_change(last, process)
            time.sleep(rng.uniform(0.0, 0.5))
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
        process = start(tmp_path / "parts", *([RESUME] if folder.exists() else []), epochs=epochs)
        if kills >= 24:
            process.communicate()
            break
    assert process.returncode == 0
    assert kills >= 20
    assert_same_run(run_folder(tmp_path / "whole"), folder)


def test_an_own_last_checkpoint_by_its_path_continues_in_its_folder(tmp_path):
    assert fit(tmp_path, epochs=2) == 0
    assert fit(tmp_path, f"--ckpt_path={run_folder(tmp_path)}/checkpoints/last.ckpt") == 0
    assert [path.name for path in run_folder(tmp_path).parent.iterdir()] == ["seed_0"]
    assert state(run_folder(tmp_path))["/epoch"] == 3


def test_any_other_checkpoint_begins_a_new_run_and_leaves_the_old_one_alone(tmp_path):
    assert fit(tmp_path, epochs=2) == 0
    best = run_folder(tmp_path) / "checkpoints" / "best.ckpt"
    before = {path: path.read_bytes() for path in run_folder(tmp_path).rglob("*") if path.is_file()}
    assert fit(tmp_path, f"--ckpt_path={best}") == 0
    assert fit(tmp_path, f"--ckpt_path={run_folder(tmp_path)}", "--seed_everything=1") == 0
    assert sorted(path.name for path in run_folder(tmp_path).parent.iterdir()) == ["seed_0", "seed_0-2", "seed_1"]
    assert {path: path.read_bytes() for path in before} == before


def test_last_without_any_run_begins_one_and_says_so(tmp_path, capsys):
    assert fit(tmp_path, RESUME, epochs=1) == 0
    assert capsys.readouterr().out.startswith(f"there is no run in {run_folder(tmp_path)} yet: this begins one\n")
    assert state(run_folder(tmp_path))["/epoch"] == 0


def test_last_of_a_run_that_ended_before_its_first_checkpoint_starts_it_again_in_its_folder(tmp_path, capsys):
    assert fit(tmp_path / "whole", epochs=2) == 0
    run_folder(tmp_path / "parts").mkdir(parents=True)
    assert fit(tmp_path / "parts", RESUME, epochs=2) == 0
    assert "seed_0 begins again: it ended before its first checkpoint\n" in capsys.readouterr().out
    assert_same_run(run_folder(tmp_path / "whole"), run_folder(tmp_path / "parts"))


def test_last_of_a_complete_run_says_so(tmp_path, capsys):
    assert fit(tmp_path, epochs=2) == 0
    assert fit(tmp_path, RESUME, epochs=2) == 0
    assert "nothing left to train: all 2 epochs are in" in capsys.readouterr().out
    assert fit(tmp_path, RESUME, epochs=1) == 1
    assert "trainer.max_epochs is 1; allowed: at least 2" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_goes_on_there_and_is_tested_on_a_cpu(tmp_path):
    gpu = "--trainer.accelerator=gpu"
    assert fit(tmp_path, gpu, "--relabel_goals.every_n_epochs=1", epochs=1) == 0
    assert fit(tmp_path, gpu, RESUME, epochs=2) == 0
    assert main(["test", str(run_folder(tmp_path)), "--trainer.accelerator=cpu"]) == 0


def test_a_resumed_run_saves_nothing_of_the_file_that_it_came_from(tmp_path):
    options, last = ["--data.episodes_per_epoch=2"], run_folder(tmp_path) / "checkpoints" / "last.ckpt"
    assert fit(tmp_path, *options, epochs=1) == 0
    size = last.stat().st_size
    assert fit(tmp_path, *options, RESUME, *signal_at(1, 0)) == 143
    assert last.stat().st_size < 1.5 * size


def test_what_was_logged_after_the_checkpoint_is_hidden_from_tensorboard(tmp_path, whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ["--data.episodes_per_epoch=2"]
    assert fit(tmp_path, *options, epochs=2) == 0
    last = run_folder(tmp_path) / "checkpoints" / "last.ckpt"
    kept = last.read_bytes()
    assert fit(tmp_path, *options, RESUME, epochs=3) == 0
    last.write_bytes(kept)  # as if epoch 3 had been logged but not saved
    assert fit(tmp_path, *options, RESUME) == 0
    events = EventAccumulator(str(run_folder(tmp_path)))
    events.Reload()
    steps = [event.step for event in events.Scalars("eval/success_rate") if event.step > 0]
    assert steps == [400, 600, 800, 1000]
    assert scalars(run_folder(tmp_path)) == scalars(whole)


def test_the_best_checkpoint_and_its_score_survive_a_resume(tmp_path, whole):
    options = ["--data.episodes_per_epoch=2"]
    assert fit(tmp_path, *options, epochs=2) == 0
    assert fit(tmp_path, *options, RESUME) == 0
    names = [sorted(path.name for path in folder.glob("checkpoints/*")) for folder in (whole, run_folder(tmp_path))]
    assert names[0] == names[1]
    assert len(names[0]) == 2


def wait_for_change(path: Path, process) -> None:
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.poll() is None and (not path.exists() or path.stat().st_mtime_ns == before):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--data.num_envs=2"], "data.num_envs is 2; allowed: 1, as in the checkpoint, which is of the middle of an"),
        (["--data.episodes_per_epoch=1"], "data.episodes_per_epoch is 1; allowed: more than 1, as in the checkpoint"),
    ],
)
def test_the_rest_of_an_epoch_has_the_episodes_that_it_began_with(tmp_path, capsys, changed, message):
    assert fit(tmp_path, "--data.episodes_per_epoch=4", *signal_at(1, 0)) == 143
    capsys.readouterr()
    assert fit(tmp_path, "--data.episodes_per_epoch=4", *changed, RESUME) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {message}")
