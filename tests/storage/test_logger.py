"""TensorBoard's files as TensorBoard reads them."""

import math

import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mher_pl.storage.logger import RunLogger
from tests.events import events


def test_the_metrics_of_a_call_are_read_back_and_are_one_event(tmp_path):
    logger = RunLogger(tmp_path)
    logger.log_metrics({"eval/return": -3.5, "train/loss": torch.tensor(0.25)}, step=7)
    logger.log_metrics({"eval/return": math.nan}, step=9)
    logger.finalize("success")
    read = events(tmp_path)
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [(7, 0.25)]
    first, second = read.Scalars("eval/return")
    assert (first.step, first.value, second.step) == (7, -3.5, 9)
    assert math.isnan(second.value)
    (file,) = tmp_path.glob("events.*")
    assert [event.step for event in EventFileLoader(str(file)).Load() if event.HasField("summary")] == [7, 9]


def test_a_group_of_scalars_is_logged_as_lightning_does(tmp_path):
    logger = RunLogger(tmp_path)
    logger.log_metrics({"loss": {"actor": 1.0, "critic": 2.0}, "return": -1.0}, step=3)
    logger.finalize("success")
    assert [event.value for event in events(tmp_path).Scalars("return")] == [-1.0]
    assert [event.value for event in events(tmp_path / "loss_critic").Scalars("loss")] == [2.0]


def test_what_was_logged_from_the_purge_step_on_is_hidden(tmp_path):
    before, after = RunLogger(tmp_path), RunLogger(tmp_path, purge_step=2)
    for step in (1, 2, 3):
        before.log_metrics({"return": float(step)}, step)
    before.finalize("success")
    after.log_metrics({"return": 5.0}, step=2)
    after.finalize("success")
    assert [(event.step, event.value) for event in events(tmp_path).Scalars("return")] == [(1, 1.0), (2, 5.0)]


@pytest.mark.parametrize("value", ["much", None, torch.zeros(2)])
def test_what_is_no_scalar_is_refused_by_name(tmp_path, value):
    with pytest.raises(ValueError, match="eval/return is"):
        RunLogger(tmp_path).log_metrics({"train/loss": 1.0, "eval/return": value})
