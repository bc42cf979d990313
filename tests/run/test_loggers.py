"""Loggers, and callbacks that monitor what is logged, as a user adds them."""

from pathlib import Path

import pytest
from trained_runs import fit, run_folder

from mher_pl.storage.metrics import ENDED, read_metrics
from tests.events import scalars


def names(folder: Path) -> set[str]:
    return {line.metric for line in read_metrics(folder)}


def monitoring(callback: str, metric: str, *options: str) -> list[str]:
    settings = [f"--trainer.callbacks.{option}" for option in (f"monitor={metric}", *options)]
    return [f"--trainer.callbacks+=lightning.pytorch.callbacks.{callback}", *settings]


def test_the_runs_own_table_holds_all_that_tensorboard_shows(tmp_path):
    assert fit(tmp_path, epochs=2) == 0
    run = run_folder(tmp_path)
    logged = scalars(run)
    *lines, last = read_metrics(run)
    assert last.metric == ENDED, "the table alone says so"
    assert {line.metric for line in lines} == logged.keys() - {"epoch"}
    for line in lines:
        assert line.value == pytest.approx(logged[line.metric][line.env_steps], rel=1e-6)
        assert logged["epoch"][line.env_steps] == line.epoch - 1


def test_the_table_is_written_without_any_logger(tmp_path):
    assert fit(tmp_path, "--trainer.logger=false", epochs=1) == 0
    assert {"eval/success_rate", "train/critic_loss", "time/wall"} <= names(run_folder(tmp_path))


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
    assert "eval/success_rate" in error or "train/critic_loss" in error  # as far as a line goes


def test_the_trainers_own_default_is_tensorboard_in_the_runs_folder(tmp_path):
    assert fit(tmp_path, "--trainer.logger=true", epochs=1) == 0
    assert list(run_folder(tmp_path).glob("events*"))
    assert not (run_folder(tmp_path) / "lightning_logs").exists()


def test_tensorboard_is_replaced_by_a_logger_and_joined_by_a_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in ("--trainer.logger=", "--trainer.logger+="):
        assert (
            fit(tmp_path, f"{option}lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=csv", epochs=1)
            == 0
        )
    assert len(list(Path("csv").rglob("metrics.csv"))) == 2
    assert not list(run_folder(tmp_path).glob("events*"))
    assert list(run_folder(tmp_path, name="seed_0-2").glob("events*"))


@pytest.mark.parametrize(("name", "package"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow")])
def test_a_logger_whose_package_is_missing_is_one_line_that_names_it(tmp_path, monkeypatch, capsys, name, package):
    monkeypatch.setattr(f"lightning.pytorch.loggers.{package}._{package.upper()}_AVAILABLE", Missing(package))
    assert fit(tmp_path, f"--trainer.logger=lightning.pytorch.loggers.{name}") == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: trainer.logger is lightning.pytorch.loggers.{name}, which cannot be built: ")
    assert package in error


class Missing(str):
    def __bool__(self) -> bool:
        return False


def test_wandb_offline_keeps_curves_settings_and_pictures(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    logger = ["--config", "wandb", "--trainer.logger.offline=true", "--relabel_goals.every_n_epochs=1"]
    assert fit(tmp_path, *logger, epochs=2) == 0
    run, summary = wandb.run, dict(wandb.run.summary)
    wandb.finish()
    assert run.project == "mher_pl"
    assert run.config["model.discount"] == 0.99
    assert summary.keys() >= {"eval/success_rate", "train/critic_loss", "relabel/goals", "epoch"}
    assert summary["trainer/global_step"] == 400, "environment steps"
    assert list(Path("wandb").glob("offline-run-*/run-*.wandb"))
    assert not list(run_folder(tmp_path).glob("events*"))


def test_mlflow_keeps_curves_settings_and_pictures_in_a_local_file(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    assert fit(tmp_path, "--config", "mlflow", "--relabel_goals.every_n_epochs=1", epochs=2) == 0
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mher_pl").experiment_id])
    assert run.data.params["model.discount"] == "0.99"
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "eval/success_rate")] == [300, 400]
    assert client.list_artifacts(run.info.run_id)
