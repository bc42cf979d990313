"""Loggers, and callbacks that monitor what is logged, as a user adds them."""

from pathlib import Path

import pytest

from mher_pl.storage.metrics import read_metrics
from tests.events import scalars
from trained_runs import fit, run_folder


def names(folder: Path) -> set[str]:
    return {line.metric for line in read_metrics(folder)}


def monitoring(callback: str, metric: str, *options: str) -> list[str]:
    settings = [f"--trainer.callbacks.{option}" for option in (f"monitor={metric}", *options)]
    return [f"--trainer.callbacks+=lightning.pytorch.callbacks.{callback}", *settings]


def test_the_runs_own_table_holds_all_that_tensorboard_shows(tmp_path):
    assert fit(tmp_path, epochs=2) == 0
    run = run_folder(tmp_path)
    logged = scalars(run)
    assert names(run) == logged.keys() - {"epoch"}
    for line in read_metrics(run):
        assert line.value == pytest.approx(logged[line.metric][line.env_steps], rel=1e-6)
        assert logged["epoch"][line.env_steps] == line.epoch - 1


@pytest.mark.parametrize("logger", ["lightning.pytorch.loggers.CSVLogger", "false"])
def test_the_table_is_written_with_any_logger_and_without(tmp_path, monkeypatch, logger):
    monkeypatch.chdir(tmp_path)
    assert fit(tmp_path, f"--trainer.logger={logger}", epochs=1) == 0
    assert {"eval/success_rate", "train/critic_loss", "time/wall", "relabel/goal_distance"} <= names(run_folder(tmp_path))


@pytest.mark.parametrize("metric", ["train/critic_loss", "time/wall", "relabel/goal_distance"])
def test_any_metric_can_stop_a_run_and_choose_a_checkpoint(tmp_path, metric):
    stop = monitoring("EarlyStopping", metric, "mode=max", "stopping_threshold=0", "patience=99")
    keep = monitoring("ModelCheckpoint", metric, f"dirpath={tmp_path}", "filename=mine")
    assert fit(tmp_path, *stop, *keep) == 0
    assert {line.epoch for line in read_metrics(run_folder(tmp_path))} == {1}
    assert (tmp_path / "mine.ckpt").is_file()


@pytest.mark.parametrize("callback", ["EarlyStopping", "ModelCheckpoint"])
def test_a_monitor_of_what_is_not_there_is_one_line_with_what_is(tmp_path, capsys, callback):
    assert fit(tmp_path, *monitoring(callback, "train/criticloss")) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert "train/criticloss" in error
    assert "train/critic_loss" in error
