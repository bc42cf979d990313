import math

import pytest

from mher_pl.errors import UserError
from mher_pl.storage.metrics import MetricsTable, read_metrics


def lines(folder):
    return [(line.epoch, line.env_steps, line.metric, line.value) for line in read_metrics(folder)]


def test_every_metric_of_every_epoch_is_a_line(tmp_path):
    table = MetricsTable(tmp_path, -1)
    table.add(1, 2100, {"eval/success_rate": 0.949999988079071})  # 0.95 as a 32-bit number
    table.add(1, 2100, {"train/critic_loss": 1.5, "a,b": math.inf})
    table.add(2, 2200, {"eval/success_rate": 1.0})
    header, first, *_ = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == "epoch,env_steps,unix_time,metric,value"
    assert first.endswith(",eval/success_rate,0.95")
    assert lines(tmp_path) == [
        (1, 2100, "eval/success_rate", 0.95),
        (1, 2100, "train/critic_loss", 1.5),
        (1, 2100, "a,b", math.inf),
        (2, 2200, "eval/success_rate", 1.0),
    ]


@pytest.mark.parametrize(("env_steps", "kept"), [(2250, [1, 2]), (2200, [1, 2]), (-1, [])])
def test_a_resumed_run_replaces_what_was_written_after_its_checkpoint(tmp_path, env_steps, kept):
    table = MetricsTable(tmp_path, -1)
    for epoch in (1, 2, 3):
        table.add(epoch, 2000 + 100 * epoch, {"x": 0.0})
    MetricsTable(tmp_path, env_steps).add(9, 3000, {"x": 1.0})
    assert [line.epoch for line in read_metrics(tmp_path)] == [*kept, 9]


def test_a_line_that_a_kill_cut_short_is_not_read_and_does_not_spoil_the_next(tmp_path):
    MetricsTable(tmp_path, -1).add(1, 100, {"x": 0.25})
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text() + "2,200,1.0,x,0.1")  # of 0.125
    assert lines(tmp_path) == [(1, 100, "x", 0.25)]
    MetricsTable(tmp_path, 200).add(2, 200, {"x": 0.125})
    assert lines(tmp_path) == [(1, 100, "x", 0.25), (2, 200, "x", 0.125)]


def test_a_damaged_line_costs_only_itself(tmp_path):
    table = MetricsTable(tmp_path, -1)
    for epoch in (1, 2, 3):
        table.add(epoch, 100 * epoch, {"x": 0.0})
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(b"\n2,200", b"\n\xff\x00\x01,200"))
    assert [line.epoch for line in read_metrics(tmp_path)] == [1, 3]


def test_a_table_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / ".metrics.csv.part").mkdir()
    with pytest.raises(UserError, match=r"the metrics .*metrics.csv could not be written \(.*\); allowed: a folder"):
        MetricsTable(tmp_path, -1).add(1, 100, {"x": 0.0})
