from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mher_pl.callbacks import Evaluation
from mher_pl.errors import UserError
from mher_pl.evaluate import wilson_interval
from mher_pl.storage.metrics import ENDED, read_metrics
from tests.events import scalars

TAGS = {"eval/success_rate", "eval/success_any", "eval/return", "eval/final_distance", "eval/q_mean"}


def test_every_epoch_is_evaluated_and_logged_against_environment_steps(build):
    cli = build("point2d", **{"trainer.max_epochs": 3})
    cli.trainer.fit(cli.model, cli.datamodule)
    logged = scalars(cli.trainer.log_dir)
    assert set(logged) >= TAGS
    for tag in TAGS:
        assert list(logged[tag]) == [300, 400, 500], "2 episodes of warm-up and 1 an epoch, of 100 steps"
    assert list(logged["epoch"].values()) == [0, 1, 2]
    assert logged["eval/success_rate"][500] == pytest.approx(cli.trainer.callback_metrics["eval/success_rate"].item())
    ends = [line for line in read_metrics(Path(cli.trainer.log_dir)) if line.metric == ENDED]
    assert [(line.epoch, line.env_steps, line.value) for line in ends] == [(3, 500, 3.0)], "the curve is whole"


def test_an_epoch_without_evaluation_has_no_success_rate(build):
    cli = build("point2d", **{"trainer.max_epochs": 3, "trainer.check_val_every_n_epoch": 2})
    cli.trainer.fit(cli.model, cli.datamodule)
    assert not [name for name in cli.trainer.callback_metrics if name.startswith("eval/")]
    assert "train/critic_loss" in cli.trainer.callback_metrics


def test_lightnings_check_before_training_is_no_evaluation(build):
    cli = build("point2d", **{"trainer.num_sanity_val_steps": 2})
    cli.trainer.fit(cli.model, cli.datamodule)
    assert list(scalars(cli.trainer.log_dir)["eval/success_rate"]) == [300]


def test_fewer_episodes_than_workers_are_refused():
    trainer = SimpleNamespace(world_size=3)
    with pytest.raises(UserError, match=r"evaluation.episodes is 2; allowed: an integer of at least 3, one for each"):
        Evaluation(episodes=2).setup(trainer, None, "fit")


def test_workers_means_are_joined_by_the_number_of_their_episodes_and_q_by_that_of_their_steps():
    own = {"eval/success_rate": 1.0, "eval/return": -4.0, "eval/q_mean": -2.0}
    others = torch.tensor([[0.5 * 6, 6.0], [-10.0 * 6, 6.0], [-1.0 * 30, 30.0]])

    class Strategy:
        root_device = torch.device("cpu")

        def reduce(self, sums, reduce_op):
            assert reduce_op == "sum"
            return sums + others

    trainer = SimpleNamespace(world_size=2, strategy=Strategy())
    joined = Evaluation._mean_over_workers(trainer, own, episodes=2, steps=10)
    assert joined == pytest.approx({"eval/success_rate": 5 / 8, "eval/return": -68 / 8, "eval/q_mean": -50 / 40})


def test_every_evaluation_runs_new_episodes_which_run_seed_and_environment_steps_decide(trained):
    evaluation = next(c for c in trained.trainer.callbacks if isinstance(c, Evaluation))
    data = trained.datamodule

    def goals(seed: int, env_steps: int) -> torch.Tensor:
        data.seed, data.env_steps = seed, env_steps
        return evaluation.evaluate(trained.trainer, trained.model).desired_goals

    first = goals(0, 300)
    assert torch.equal(goals(0, 300), first)
    assert not torch.equal(goals(0, 400), first)
    assert not torch.equal(goals(1, 300), first)


def test_validate_repeats_the_evaluation_that_chose_a_checkpoint_and_test_runs_other_episodes(trained, monkeypatch):
    goals, evaluate = [], Evaluation.evaluate

    def spy(*args):
        outcome = evaluate(*args)
        goals.append(outcome.desired_goals)
        return outcome

    monkeypatch.setattr(Evaluation, "evaluate", spy)
    metrics = trained.trainer.callback_metrics
    trained.trainer.validate(trained.model, trained.datamodule)
    assert trained.trainer.callback_metrics["eval/return"] == metrics["eval/return"]
    trained.trainer.test(trained.model, trained.datamodule)
    assert not (goals[0].unsqueeze(1) == goals[1]).all(dim=-1).any()
    trained.datamodule.env_steps += 100
    trained.trainer.test(trained.model, trained.datamodule)
    assert torch.equal(goals[1], goals[2]), "the same for all checkpoints of a run"


def test_validate_and_test_print_a_table_and_change_no_weights(trained, capsys):
    before = {key: value.clone() for key, value in trained.model.state_dict().items()}
    for command in (trained.trainer.validate, trained.trainer.test):
        command(trained.model, trained.datamodule)
        table = capsys.readouterr().out
        assert "3 episodes of mher_pl/Point2DLarge-v1" in table
        assert all(tag.removeprefix("eval/") in table for tag in TAGS)
        rate = trained.trainer.callback_metrics["eval/success_rate"].item()
        low, high = wilson_interval(round(3 * rate), 3)
        assert f"  success_rate    {rate:>9.3f}  [{low:.3f}, {high:.3f}]\n" in table
    assert all(torch.equal(value, before[key]) for key, value in trained.model.state_dict().items())


def test_the_policy_is_evaluated_without_exploration(build, monkeypatch):
    cli = build("point2d", **{"data.exploration.random_action_probability": 1.0})
    cli.trainer.fit(cli.model, cli.datamodule)
    seen = []
    act = cli.model.act
    monkeypatch.setattr(cli.model, "act", lambda state, goal: seen.append((state, goal)) or act(state, goal))
    outcome = next(c for c in cli.trainer.callbacks if type(c).__name__ == "Evaluation").evaluate(
        cli.trainer, cli.model
    )
    assert len(seen) == 100, "one policy call a step for all episodes"
    observations, goals, actions = (
        rows.view(100, 3, 2) for rows in (outcome.observations, outcome.desired_goals, outcome.actions)
    )
    step = observations[1] - observations[0]
    expected = act(observations[0], goals[0])
    moved_freely = (observations[1].abs() < 5.0).all(dim=1)
    assert torch.allclose(step[moved_freely], expected[moved_freely], atol=1e-5)
    assert torch.equal(actions[0], expected)
