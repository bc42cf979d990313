import torch
from tensordict import TensorDict

from mher_pl.callbacks.goal_picture import GoalPicture
from mher_pl.callbacks.relabel_goals import RelabelGoalLogger, mean_distance
from tests.events import events, scalars


def test_the_mean_distance_is_over_the_relabelled_rows():
    outputs = {
        "original_goal": torch.zeros(3, 2),
        "relabelled_goal": torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]),
        "relabelled": torch.tensor([True, True, False]),
    }
    none = outputs | {"relabelled": torch.zeros(3, dtype=torch.bool)}
    batches = {key: torch.stack([outputs[key], none[key]]) for key in outputs}
    assert mean_distance(batches).item() == 1.5, "the mean of 3 and, where no row was relabelled, 0"


def test_distance_and_picture_are_logged(build):
    cli = build("point2d", **{"relabel_goals.every_n_epochs": 2, "trainer.max_epochs": 4})
    cli.trainer.fit(cli.model, cli.datamodule)
    distances = scalars(cli.trainer.log_dir)["relabel/goal_distance"]
    assert list(distances) == [300, 400, 500, 600]
    assert min(distances.values()) > 0.0
    assert [image.step for image in events(cli.trainer.log_dir).Images("relabel/goals")] == [400, 600]


def test_the_pictures_have_room_for_the_goals_of_the_warm_up(build):
    cli = build("point2d", **{"relabel_goals.every_n_epochs": 1, "warmup.episodes": 3})
    cli.trainer.fit(cli.model, cli.datamodule)
    (logger,) = (callback for callback in cli.trainer.callbacks if isinstance(callback, RelabelGoalLogger))
    goals, view = cli.datamodule.replay.episodes["achieved_goal"][:3].flatten(0, 1).numpy(), logger.picture.axes.viewLim
    assert (goals > view.min).all()
    assert (goals < view.max).all()


def test_goals_for_the_imitation_alone_count_too(build):
    cli = build("point2d", "algorithms/no_mbr", **{"relabel_goals.every_n_epochs": 1})
    cli.trainer.fit(cli.model, cli.datamodule)
    (distance,) = scalars(cli.trainer.log_dir)["relabel/goal_distance"].values()
    assert distance > 0.0
    achieved, desired = torch.arange(10.0).view(5, 2), torch.full((5, 2), 7.0)
    batch = TensorDict({"desired_goal": desired, "next": {"achieved_goal": achieved}}, [5])
    rows = torch.ones(5, dtype=torch.bool)
    chosen = TensorDict({"desired_goal": desired, "imitation_goal": achieved + 1, "relabelled": rows}, [5])
    picture = GoalPicture()
    picture.draw(batch, chosen)
    lines = {line.get_label(): line.get_xydata() for line in picture.axes.lines}
    assert lines["relabelled"].tolist() == (achieved + 1).tolist()


def test_looking_at_the_goals_changes_no_training(build):
    weights = []
    for every in (0, 1):
        cli = build("point2d", **{"relabel_goals.every_n_epochs": every, "trainer.max_epochs": 2})
        cli.trainer.fit(cli.model, cli.datamodule)
        weights.append(cli.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
