"""Learning, at the paper's protocol; minutes long, so not in the default run."""

import numpy as np
import pytest

from mher_pl.cli import load
from tests.conftest import ROOT
from tests.events import scalars

ARENA = {"data.env_kwargs.boundary_dist": 4.0}


def success(tmp_path, seed: int, epochs: int, *configs: str, **overrides: object) -> list[float]:
    """Train one seed and return its success rate after each epoch."""
    paths = [ROOT / "configs" / f"{name}.yaml" for name in configs]
    settings = {"seed_everything": seed, "trainer.max_epochs": epochs, "trainer.enable_progress_bar": False}
    run = load(*paths, **settings | {"trainer.default_root_dir": tmp_path} | overrides)
    run.trainer.fit(run.model, run.datamodule)
    return list(scalars(run.trainer.log_dir)["eval/success_rate"].values())


@pytest.mark.slow
def test_mher_learns_point2d_in_five_epochs_and_plain_ddpg_does_not(tmp_path):
    mher = np.median([success(tmp_path, seed, 6, "point2d", **ARENA) for seed in range(5)], axis=0)
    ddpg = np.median([success(tmp_path, seed, 6, "point2d", "algorithms/ddpg", **ARENA) for seed in range(5)], axis=0)
    assert mher[:5].max() >= 0.95
    assert ddpg.max() < 0.5


@pytest.mark.slow
def test_mher_learns_four_rooms(tmp_path):
    curves = np.array([success(tmp_path, seed, 30, "four_room", **ARENA) for seed in range(5)])
    assert np.median(curves[:, 4]) >= 0.70
    assert np.median(curves[:, 20:].mean(axis=1)) >= 0.76  # 0.78 less what another machine's rounding makes of it


@pytest.mark.slow
@pytest.mark.parametrize(("task", "epochs"), [("fetch", 5), ("sawyer", 5), ("reacher", 20)])
def test_mher_learns_the_robot_tasks(tmp_path, task: str, epochs: int):
    curves = [success(tmp_path, seed, epochs, task, **{"evaluation.episodes": 50}) for seed in range(5)]
    assert np.median(curves, axis=0).max() >= 0.95
