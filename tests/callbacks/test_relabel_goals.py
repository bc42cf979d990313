import torch
from tensordict import TensorDict

from mher_pl.callbacks.relabel_goals import mean_distance
from mher_pl.relabel import Future
from tests.events import events, scalars


def test_the_mean_distance_is_over_the_relabelled_rows():
    batch = TensorDict(
        {
            "original_goal": torch.zeros(3, 2),
            "imitation_goal": torch.tensor([[3.0, 4.0], [0.0, 1.0], [7.0, 0.0]]),
            "relabelled": torch.tensor([True, True, False]),
        },
        [3],
    )
    none = batch.clone().update({"relabelled": torch.zeros(3, dtype=torch.bool)})
    assert mean_distance([batch]).item() == 3.0
    assert mean_distance([batch, none]).item() == 1.5, "the mean of 3 and, where no row was relabelled, 0"
    assert mean_distance([batch, batch[:1]]).item() == 4.0, "a relabeller may leave rows out: the mean of 3 and 5"


def test_distance_and_picture_are_logged(build):
    cli = build("point2d", **{"relabel_goals.every_n_epochs": 2, "trainer.max_epochs": 4})
    cli.trainer.fit(cli.model, cli.datamodule)
    distances = scalars(cli.trainer.log_dir)["relabel/goal_distance"]
    assert list(distances) == [300, 400, 500, 600]
    assert min(distances.values()) > 0.0
    assert [image.step for image in events(cli.trainer.log_dir).Images("relabel/goals")] == [400, 600]


def test_goals_for_the_imitation_alone_count_too(build):
    cli = build("point2d", "algorithms/no_mbr", **{"relabel_goals.every_n_epochs": 1})
    cli.trainer.fit(cli.model, cli.datamodule)
    (distance,) = scalars(cli.trainer.log_dir)["relabel/goal_distance"].values()
    assert distance > 0.0


def test_a_method_that_relabels_nothing_has_neither_distance_nor_picture(build, monkeypatch):
    cli = build("point2d", **{"relabel_goals.every_n_epochs": 1})
    monkeypatch.setattr(cli.model, "training_step", lambda batches, batch_idx: None)
    monkeypatch.setattr(cli.model, "relabel", None)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert "eval/success_rate" in scalars(cli.trainer.log_dir)
    assert "relabel/goal_distance" not in scalars(cli.trainer.log_dir)
    assert events(cli.trainer.log_dir).Tags()["images"] == []


class Fading(Future):
    """Relabels fewer rows with every batch."""

    def choose_rows(self, batch, generator):
        self.ratio *= 0.9
        return super().choose_rows(batch, generator)

    def worker_state(self):
        return {"ratio": self.ratio}

    def load_worker_state(self, state):
        self.ratio = state["ratio"]


def test_looking_at_the_goals_changes_no_training(build):
    weights = []
    for every in (0, 1):
        cli = build("point2d", **{"relabel_goals.every_n_epochs": every, "trainer.max_epochs": 2})
        cli.model.relabel = Fading(0.8)
        cli.trainer.fit(cli.model, cli.datamodule)
        weights.append(cli.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
