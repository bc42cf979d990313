from time import perf_counter, sleep

import pytest

from mher_pl.callbacks import Timing
from tests.events import scalars


def test_the_phases_of_an_epoch_add_up_to_its_wall_clock_time(build, monkeypatch):
    cli = build("point2d", **{"trainer.max_epochs": 3})
    monkeypatch.setattr(cli.model, "warm_up", lambda batches: sleep(2.0))
    cli.trainer.fit(cli.model, cli.datamodule)
    logged = scalars(cli.trainer.log_dir)
    phases = [logged[f"time/{phase}"] for phase in ("collect", "update", "evaluate", "other")]
    wall = logged["time/wall"]
    assert all(value > 0 for phase in phases for value in phase.values())
    assert sum(phase[300] for phase in phases) < wall[300], "the first epoch has no set-up and no warm-up"
    assert phases[-1][300] < 2.0, "nor has what is left of it"
    for before, after in ((300, 400), (400, 500)):
        assert sum(phase[after] for phase in phases) == pytest.approx(wall[after] - wall[before], rel=0.05)


def test_the_clocks_of_a_resumed_run_go_on():
    first, second = Timing(), Timing()
    for timing in (first, second):
        timing.setup(None, None, "fit")
    first.wall_before = 100.0
    first.seconds["update"] = 30.0
    first._epoch_start -= 40.0
    second.load_state_dict(first.state_dict())
    assert second.wall > 100.0
    second.on_train_start(None, None)
    assert second.seconds == first.seconds
    other = perf_counter() - second._epoch_start - sum(second.seconds.values())
    assert other == pytest.approx(10.0, abs=1.0)
