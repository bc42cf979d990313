import sys

import pytest

from mher_pl.callbacks import Progress


def test_the_bar_counts_environment_steps_to_a_true_total_and_tells_the_end(build, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    cli = build("point2d", **{"trainer.max_epochs": 2, "trainer.enable_progress_bar": True})
    bars = []
    progress = next(c for c in cli.trainer.callbacks if isinstance(c, Progress))
    close = progress._close
    progress._close = lambda: (bars.append((progress._bar.n, progress._bar.total)), close())
    cli.trainer.fit(cli.model, cli.datamodule)
    assert bars == [(400, 400)], "2 episodes of warm-up and 2 of training"
    out = capsys.readouterr().out
    assert "env steps/s" in out
    assert "success rate" in out
    assert out.splitlines()[-1].endswith(f"run folder {cli.trainer.default_root_dir}")


@pytest.mark.parametrize(("num_envs", "limit", "total"), [(1, 2, 200 + 2 * 2 * 100), (2, 1, 200 + 2 * 2 * 100)])
def test_the_total_is_of_the_episodes_that_an_epoch_is_limited_to(build, monkeypatch, num_envs, limit, total):
    settings = {"max_epochs": 2, "enable_progress_bar": True, "limit_train_batches": limit}
    run = build(
        "point2d",
        **{"data.episodes_per_epoch": 4, "data.num_envs": num_envs},
        **{f"trainer.{key}": value for key, value in settings.items()},
    )
    progress = next(c for c in run.trainer.callbacks if isinstance(c, Progress))
    totals, close = [], progress._close
    progress._close = lambda: (totals.append(progress._bar.total), close())
    run.trainer.fit(run.model, run.datamodule)
    assert totals == [total] == [run.datamodule.env_steps]


def test_a_file_gets_a_line_an_epoch(build, capsys):
    cli = build("point2d", **{"trainer.max_epochs": 2, "trainer.enable_progress_bar": True})
    cli.trainer.fit(cli.model, cli.datamodule)
    task, warmup, first, second, end = capsys.readouterr().out.splitlines()
    assert task == (
        "task: mher_pl/Point2DLarge-v1, 100 steps an episode, achieved goal: entries 0, 1 of the observation, "
        "reward 0 at the goal, else -1"
    )
    assert warmup == "warm-up: 2 random episodes, then 2 updates of the model"
    assert first.startswith("300 env steps, epoch 1, success rate ")
    assert second.startswith("400 env steps, epoch 2, success rate ")
    assert end.startswith("epoch 2, success rate ")


def test_an_epoch_without_evaluation_has_no_success_rate(build, capsys):
    settings = {"trainer.max_epochs": 3, "trainer.check_val_every_n_epoch": 2, "trainer.enable_progress_bar": True}
    cli = build("point2d", **settings)
    cli.trainer.fit(cli.model, cli.datamodule)
    lines = capsys.readouterr().out.splitlines()[2:5]
    assert ["success rate" in line for line in lines] == [False, True, False]


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("max_epochs", 0, "trainer.max_epochs is 0"),
        ("max_steps", 0, "trainer.max_steps is 0, and there were as many"),
        ("limit_train_batches", 0, "trainer.limit_train_batches is 0"),
        ("max_time", "00:00:00:00", "trainer.max_time is used up"),
    ],
)
def test_a_run_that_trains_nothing_says_why(build, capsys, setting, value, reason):
    cli = build("point2d", **{f"trainer.{setting}": value, "trainer.enable_progress_bar": True})
    cli.trainer.fit(cli.model, cli.datamodule)
    assert capsys.readouterr().out == f"nothing was trained: {reason}\n"
