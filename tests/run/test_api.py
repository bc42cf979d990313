"""Runs from Python."""

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.mixture  # noqa: F401  for its OpenMP, which MEP computes with
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, StrategyRegistry
from threadpoolctl import threadpool_info

from mher_pl.envs import make_vec
from mher_pl.envs.batch import physics_threads
from mher_pl.errors import Interrupted, UserError
from mher_pl.parallel.ddp import WorkerStrategy
from mher_pl.run.api import load
from mher_pl.run.threads import cpu_threads
from mher_pl.storage.folder import sole_writer
from mher_pl.storage.metrics import read_metrics
from tests.conftest import SMALL

MAPS = Path("/proc/self/maps")


def process_state() -> list[object]:
    flushed = bool(torch.tensor(1e-310, dtype=torch.float64).mul(1.0) == 0.0)
    return [torch.get_num_threads(), torch.initial_seed(), flushed, dict(os.environ), list(warnings.filters)]


def test_building_changes_nothing_of_the_process(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.manual_seed(123)
    before = process_state()
    load("point2d", **SMALL, **{"trainer.default_root_dir": tmp_path, "threads": 2})
    assert process_state() == before


def test_a_run_goes_on_in_its_folder_and_is_fitted_once(build, capsys):
    first = build("point2d")
    first.trainer.fit(first.model, first.datamodule)
    with pytest.raises(UserError, match=r"trainer.fit is called again; allowed: once, then mher_pl.load"):
        first.trainer.fit(first.model, first.datamodule)
    assert len(first.datamodule.replay) == 3, "what it has collected is still there"

    second = build("point2d", **{"trainer.max_epochs": 2, "ckpt_path": "last"})
    assert "seed_0 goes on after epoch 1, 300 environment steps" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"ckpt_path is 'other.ckpt'; allowed: none here, .*last.ckpt, or mher_pl.load"):
        second.trainer.fit(second.model, second.datamodule, ckpt_path="other.ckpt")
    second.trainer.fit(second.model, second.datamodule, ckpt_path="last")
    assert second.datamodule.env_steps == 400
    assert second.trainer.default_root_dir == first.trainer.default_root_dir

    third = build("point2d")
    with pytest.raises(UserError, match=r"ckpt_path is 'last'; allowed: a file, or mher_pl.load"):
        third.trainer.fit(third.model, third.datamodule, ckpt_path="last")


def test_a_run_that_another_process_trains_is_refused(build):
    first = build("point2d")
    folder = Path(first.trainer.default_root_dir)
    with sole_writer(folder):
        with pytest.raises(UserError, match=r"seed_0, which another process trains; allowed: a run that has ended"):
            first.trainer.fit(first.model, first.datamodule)
        first.trainer.output.remove()
        assert folder.is_dir(), "the other one's"
    assert list(folder.iterdir()) == [folder / ".lock"]
    first.trainer.fit(first.model, first.datamodule)
    assert (folder / "config.yaml").is_file()


def test_a_run_that_was_trained_since_it_was_read_is_refused(build):
    first = build("point2d")
    first.trainer.fit(first.model, first.datamodule)
    ahead, behind = (build("point2d", **{"trainer.max_epochs": end, "ckpt_path": "last"}) for end in (3, 5))
    ahead.trainer.fit(ahead.model, ahead.datamodule)
    with pytest.raises(UserError, match=r"seed_0, which was trained since this start read it; allowed: a new start"):
        behind.trainer.fit(behind.model, behind.datamodule)
    assert {line.epoch for line in read_metrics(Path(first.trainer.default_root_dir))} == {1, 2, 3}


@pytest.mark.skipif(not MAPS.exists(), reason="no list of the files in memory")
def test_a_run_that_goes_on_keeps_no_checkpoint_that_was_replaced(trained, build):
    last = Path(trained.trainer.default_root_dir) / "checkpoints" / "last.ckpt"
    second = build("point2d", **{"trainer.max_epochs": 2, "ckpt_path": "last"})
    second.trainer.fit(second.model, second.datamodule)
    assert str(last) not in MAPS.read_text()


def test_before_fit_the_checkpoint_is_evaluated_that_it_would_start_from(trained, build):
    (fitted,) = trained.trainer.validate(trained.model, trained.datamodule)
    (tested,) = trained.trainer.test(trained.model, trained.datamodule)
    run = trained.trainer.default_root_dir
    second = build("point2d", **{"trainer.max_epochs": 2, "ckpt_path": run})
    assert second.trainer.validate(second.model, second.datamodule) == [fitted]
    assert second.trainer.test(second.model, datamodule=second.datamodule, ckpt_path="last") == [tested]
    second.trainer.fit(second.model, second.datamodule)
    (further,) = second.trainer.validate(second.model, second.datamodule)
    assert further != fitted, "after fit its own weights"
    with pytest.raises(UserError, match=r"ckpt_path is 'last'; allowed: a file, or mher_pl.load"):
        build("point2d").trainer.validate(ckpt_path="last")


def test_a_run_does_not_begin_with_weights_that_were_evaluated(trained, build):
    last = str(Path(trained.trainer.default_root_dir) / "checkpoints" / "last.ckpt")
    other = build("point2d")
    other.trainer.validate(other.model, other.datamodule, ckpt_path=last)
    with pytest.raises(UserError, match=r"with the weights of .*last.ckpt, which was evaluated; allowed: with another"):
        other.trainer.fit(other.model, other.datamodule)


def test_nothing_is_saved_of_a_trainer_that_has_not_trained(build, tmp_path):
    run = build("point2d")
    run.trainer.validate(run.model, run.datamodule)
    with pytest.raises(UserError, match=r"trainer\.save_checkpoint is called without trainer\.fit"):
        run.trainer.save_checkpoint(tmp_path / "some.ckpt")


def test_evaluations_return_what_they_measured(trained):
    fitted = {name: value.item() for name, value in trained.trainer.callback_metrics.items() if "eval/" in name}
    assert trained.trainer.validate(trained.model, trained.datamodule) == [fitted]
    (tested,) = trained.trainer.test(trained.model, trained.datamodule)
    assert tested.keys() == fitted.keys()
    assert tested["eval/return"] != fitted["eval/return"]


@pytest.mark.parametrize(
    ("threads", "processes", "variable", "torch_threads", "others"),
    [
        (None, 1, None, 1, 3),
        (None, 2, None, 1, 1),
        (None, 1, "1", 1, 1),
        (None, 1, "2,1", 1, 2),
        (2, 1, "1", 2, 2),
    ],
)
def test_one_setting_rules_the_threads_of_networks_physics_and_linear_algebra(
    monkeypatch, threads, processes, variable, torch_threads, others
):
    monkeypatch.setattr("mher_pl.run.threads.CORES", 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before, shared = process_state(), []
    monkeypatch.setattr("mher_pl.envs.batch.share", lambda work, copies, threads: shared.append(threads))

    env = make_vec("mher_pl/Reacher-v1", num_envs=3)
    env.reset(seed=0)
    with cpu_threads(threads, processes):
        env.step(env.action_space.sample())
        assert shared == [others]
        assert torch.get_num_threads() == torch_threads
        assert torch.tensor([1e-40]) * 0.5 == 0.0, "denormal numbers count as zero"
        assert os.environ["OMP_NUM_THREADS"] == str(others)
        limits = {library["num_threads"] for library in threadpool_info() if "/torch/" not in library["filepath"]}
        assert limits == {others}
    assert process_state() == before


def test_a_config_is_asked_for():
    with pytest.raises(UserError, match=r"load has no config; allowed: the config of a task first, such as"):
        load()


def test_settings_may_be_numpys_and_objects_are_refused(build):
    radius = np.float32(0.5)
    run = build("point2d", **{"data.batch_size": np.int64(8), "data.env_kwargs": {"boundary_dist": radius}})
    assert (run.datamodule.batch_size, run.datamodule.env_kwargs["boundary_dist"]) == (8, 0.5)
    for key in ("trainer.logger", "data.env_kwargs.boundary_dist"):
        with pytest.raises(
            UserError, match=f"{key} is <object .*; allowed: what a config can hold; callbacks and logg"
        ):
            build("point2d", **{key: object()})


def test_a_bar_of_ones_own_takes_the_place_of_the_runs(build):
    run = build("point2d", **{"trainer.callbacks": "TQDMProgressBar", "trainer.enable_progress_bar": True})
    run.trainer.fit(run.model, run.datamodule)
    assert isinstance(run.trainer.progress_bar_callback, TQDMProgressBar)


def test_what_is_interrupted_says_so(build, capsys, monkeypatch):
    run = build("point2d")

    def interrupt(**_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(run.datamodule, "collect", interrupt)
    with pytest.raises(Interrupted) as interrupted:
        run.trainer.fit(run.model, run.datamodule)
    assert interrupted.value.message in capsys.readouterr().err


def test_lightnings_own_strategies_stay_what_they_are():
    assert StrategyRegistry.get("ddp").__class__ is DDPStrategy


def test_a_trainer_of_ones_own_needs_the_callbacks(build, tmp_path):
    model, data, _ = load("point2d", **SMALL, **{"trainer.default_root_dir": str(tmp_path)})
    with pytest.raises(
        UserError, match=r"trainer has no warm-up .*; allowed: the one that mher_pl\.load returned, whose"
    ):
        Trainer(max_epochs=1, logger=False, default_root_dir=tmp_path).fit(model, data)


@pytest.mark.parametrize("variable", ["many", "0", "-2"])
def test_a_variable_that_is_no_number_of_threads_is_named(monkeypatch, variable):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    message = f"OMP_NUM_THREADS is '{variable}'; allowed: a number of threads"
    with pytest.raises(UserError, match=message), cpu_threads(None, 1):
        pass


def test_a_batch_with_a_number_of_its_own_keeps_it(monkeypatch):
    shared = []
    monkeypatch.setattr("mher_pl.envs.batch.share", lambda work, copies, threads: shared.append(threads))

    env = make_vec("mher_pl/Reacher-v1", num_envs=3, threads=2)
    env.reset(seed=0)
    with physics_threads(1):
        env.step(env.action_space.sample())
    assert shared == [2]


@pytest.mark.parametrize(("devices", "strategy"), [(2, WorkerStrategy), (1, SingleDeviceStrategy)])
def test_several_devices_without_a_strategy_are_this_packages_workers(build, devices, strategy):
    """Nothing starts: the trainer is built alone."""
    run = build("point2d", **{"trainer.devices": devices, "evaluation.episodes": 2})
    assert type(run.trainer.strategy) is strategy
