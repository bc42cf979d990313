import pytest
import torch
from tensordict import TensorDict
from toy import generator, make_agent, make_batch, make_task, reached

from mher_pl.data.replay import EpisodeReplay
from mher_pl.errors import UserError
from mher_pl.relabel import (
    Foresight,
    Future,
    ImitationOnly,
    Keep,
    Mixed,
    ModelBased,
    Noisy,
    RandomGoals,
    Relabel,
    WhereRight,
)
from mher_pl.sampler import Uniform

MANY = 4000  # rows; a share of 0.8 is off by 0.02 once in a thousand draws


def own_reward(batch: TensorDict) -> torch.Tensor:
    """The toy task's reward, worked out from what the batch holds."""
    return torch.as_tensor(reached(batch["next", "achieved_goal"].numpy(), batch["desired_goal"].numpy(), {}))


RELABELLERS = {
    "keep": Keep(),
    "future": Future(0.8),
    "model based": ModelBased(0.8, steps=5, noise=0.2),
    "random": RandomGoals(0.8),
    "noisy": Noisy(Mixed([RandomGoals(0.3), ModelBased(0.5, steps=5, noise=0.2)]), std=0.01),
    "imitation only": ImitationOnly(ModelBased(0.8, steps=5, noise=0.2)),
    "foresight": Foresight(0.8, steps=5, noise=0.2, random_action_probability=0.3),
    "where right": WhereRight(ModelBased(0.8, steps=5, noise=0.2), error=1000.0),
    "mixed": Mixed([Future(0.3), ModelBased(0.5, steps=5, noise=0.2)]),
}


@pytest.mark.parametrize(
    ("goals", "given"),
    [
        (lambda achieved, rows: achieved[:, :1], "a tensor [6, 1] of float32"),
        (lambda achieved, rows: achieved[:4], "a tensor [4, 2] of float32"),
        (lambda achieved, rows: achieved.double(), "a tensor [6, 2] of float64"),
        (lambda achieved, rows: None, "a NoneType"),
        (lambda achieved, rows: achieved.numpy(), "a ndarray"),
    ],
)
def test_goals_of_another_form_are_refused(goals, given):
    class Own(Relabel):
        def goals(self, batch, rows, learner, generator):
            return goals(batch["next", "achieved_goal"], rows)

    message = f"model.relabel is Own, whose goals are {given}; allowed: a tensor [6, 2] of float32"
    for relabel in (Own(1.0), Mixed([Own(1.0)])):
        with pytest.raises(UserError) as refused:
            relabel(make_batch(6), make_agent(), generator())
        assert str(refused.value) == message


def test_what_wraps_a_relabeller_that_uses_phi_does_so_too():
    class Own(Future):
        uses_phi = True

    assert not Noisy(Future(0.5), std=0.1).uses_phi
    assert Noisy(Own(0.5), std=0.1).uses_phi
    assert Mixed([Future(0.5), Noisy(Own(0.5), std=0.1)]).uses_phi


def test_a_mask_of_another_form_is_refused():
    class Own(Keep):
        def imitated(self, batch):
            return batch["relabelled"].unsqueeze(-1)

    message = (
        r"model.relabel is Own, whose imitated rows are a tensor \[6, 1\] of bool; allowed: a tensor \[6\] of bool"
    )
    with pytest.raises(UserError, match=message):
        Own()(make_batch(6), make_agent(), generator())


@pytest.mark.parametrize("relabel", RELABELLERS.values(), ids=RELABELLERS.keys())
class TestEveryRelabeller:
    def test_leaves_its_input_as_it_was(self, relabel):
        batch = make_batch(50)
        before = batch.clone()
        relabel(batch, make_agent(), generator())
        assert set(batch.keys()) == set(before.keys())
        assert (batch == before).all()

    def test_keeps_the_transitions_and_remembers_the_original_goals(self, relabel):
        batch = make_batch(50)
        relabelled = relabel(batch, make_agent(), generator())
        for key in ("observation", "action", ("next", "observation"), ("next", "achieved_goal")):
            assert torch.equal(relabelled[key], batch[key])
        assert torch.equal(relabelled["original_goal"], batch["desired_goal"])

    def test_recomputes_the_reward_with_the_tasks_own_function(self, relabel):
        batch = make_batch(50)
        batch["desired_goal"][:25] = batch["next", "achieved_goal"][:25] + 0.1  # reached by the action
        relabelled = relabel(batch, make_agent(), generator())
        assert torch.equal(relabelled["reward"], own_reward(relabelled))
        assert set(relabelled["reward"].unique().tolist()) == {-1.0, 0.0}

    def test_changes_exactly_the_marked_rows(self, relabel):
        batch = make_batch(50)
        relabelled = relabel(batch, make_agent(), generator())
        changed = (relabelled["imitation_goal"] != batch["desired_goal"]).any(dim=1)
        assert torch.equal(relabelled["relabelled"], changed)

    def test_gives_no_gradient_and_no_other_type(self, relabel):
        relabelled = relabel(make_batch(50), make_agent(), generator())
        for key in ("desired_goal", "reward"):
            assert not relabelled[key].requires_grad
            assert relabelled[key].dtype == torch.float32

    def test_is_decided_by_the_generator(self, relabel):
        agent, batch = make_agent(), make_batch(50)
        one, same = (relabel(batch, agent, generator(3)) for _ in range(2))
        assert (one == same).all()

    def test_makes_everything_where_the_batch_is(self, relabel):
        agent, batch = make_agent(), make_batch(50)
        with torch.device("meta"):  # where torch would make it of itself
            relabelled = relabel(batch, agent, generator())
        assert {value.device.type for value in relabelled.values(include_nested=True, leaves_only=True)} == {"cpu"}


def test_keep_never_changes_a_goal():
    batch = make_batch(MANY)
    relabelled = Keep()(batch, make_agent(), generator())
    assert torch.equal(relabelled["desired_goal"], batch["desired_goal"])
    assert not relabelled["relabelled"].any()


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize(
    "make",
    [Future, RandomGoals, lambda ratio: ModelBased(ratio, steps=2, noise=0.0)],
    ids=["future", "random", "model based"],
)
def test_the_ratio_is_the_share_of_relabelled_rows(make, ratio):
    relabelled = make(ratio)(make_batch(MANY), make_agent(), generator())["relabelled"]
    assert relabelled.float().mean() == pytest.approx(ratio, abs=0.0 if ratio in (0.0, 1.0) else 0.03)


def test_which_rows_are_relabelled_is_random():
    one, other = (Future(0.8)(make_batch(50), make_agent(), generator(seed))["relabelled"] for seed in (0, 1))
    assert not torch.equal(one, other)


def test_future_goals_were_achieved_after_the_transition_in_its_own_episode():
    horizon, episodes = 10, 5
    replay = EpisodeReplay(1000, horizon, Uniform(), seed=0)
    for number in range(episodes):
        code = 100.0 * number + torch.arange(horizon + 1.0).unsqueeze(1)  # tells episode and time
        replay.add(
            TensorDict(
                {
                    "observation": code.expand(-1, 3),
                    "achieved_goal": code.expand(-1, 2),
                    "desired_goal": torch.full((horizon, 2), -5.0),
                    "action": torch.zeros(horizon, 2),
                    "length": torch.tensor(horizon),
                    "failed": torch.tensor(False),
                }
            )
        )
    relabelled = Future(0.8)(replay.sample(MANY), make_agent(), generator())
    rows = relabelled[relabelled["relabelled"]]
    now, goal = rows["observation"][:, 0], rows["desired_goal"][:, 0]
    assert torch.equal(goal // 100, now // 100)
    assert (goal > now).all()
    assert (goal == now + 1).any()
    assert set((goal - 100 * (goal // 100)).tolist()) == set(range(1, horizon + 1))


class TestTerminated:
    def test_a_step_that_reaches_its_goal_ends_the_episode_where_episodes_do(self):
        task, batch = make_task(), make_batch(50)
        batch["desired_goal"][:25] = batch["next", "achieved_goal"][:25]
        assert not Keep()(batch, make_agent(task), generator())["terminated"].any()
        task.ended_at_goal = True
        relabelled = Keep()(batch, make_agent(task), generator())
        assert relabelled["terminated"].tolist() == [True] * 25 + [False] * 25

    def test_the_goal_that_counts_is_the_relabelled_one(self):
        task, batch = make_task(), make_batch(50)
        task.ended_at_goal = True
        batch["hindsight_goal"][:10] = batch["next", "achieved_goal"][:10]
        relabelled = Future(1.0)(batch, make_agent(task), generator())
        assert relabelled["terminated"].tolist() == [True] * 10 + [False] * 40
        batch["desired_goal"] = batch["next", "achieved_goal"].clone()  # reached, but no longer what is learned
        batch["hindsight_goal"] = batch["hindsight_goal"] + 1000.0
        assert not Future(1.0)(batch, make_agent(task), generator())["terminated"].any()

    def test_a_failure_ends_the_episode_under_every_goal(self):
        batch = make_batch(50)
        batch["failed"][::2] = True
        for relabel in (Keep(), Future(1.0), ModelBased(1.0, steps=2, noise=0.0)):
            assert torch.equal(relabel(batch, make_agent(), generator())["terminated"], batch["failed"])


class TestRandomGoals:
    def test_fill_the_goal_space_of_the_environment(self):
        box = torch.tensor([[-2.0, 10.0], [3.0, 11.0]])
        goals = RandomGoals(1.0)(make_batch(MANY), make_agent(make_task(box)), generator())["desired_goal"]
        assert (goals >= box[0]).all()
        assert (goals <= box[1]).all()
        share = (goals - box[0]) / (box[1] - box[0])
        assert torch.allclose(share.mean(dim=0), torch.full((2,), 0.5), atol=0.02)
        assert torch.allclose(share.std(dim=0), torch.full((2,), 12**-0.5), atol=0.02)

    def test_fill_the_box_of_the_goals_seen_where_the_space_is_unbounded(self):
        batch = make_batch(20)
        low, high = RandomGoals.box(batch, make_task())
        assert torch.equal(low, batch["desired_goal"].amin(dim=0))  # desired goals are the lowest of the toy batch
        assert torch.equal(high, batch["hindsight_goal"].amax(dim=0))  # and hindsight goals the highest
        goals = RandomGoals(1.0)(batch, make_agent(), generator())["desired_goal"]
        assert ((goals >= low) & (goals <= high)).all()

    def test_have_nothing_to_do_with_the_transition(self):
        batch, agent = make_batch(50), make_agent(make_task(torch.tensor([[0.0, 0.0], [1.0, 1.0]])))
        one, reversed_batch = (RandomGoals(1.0)(rows, agent, generator()) for rows in (batch, batch.flip(0)))
        assert torch.equal(one["desired_goal"], reversed_batch["desired_goal"])


class TestNoisy:
    def test_adds_noise_of_the_given_size_to_the_others_goals(self):
        # small numbers, so that rounding is small beside the noise
        batch, agent = make_batch(1000, scale=1e-3), make_agent()
        plain = Future(1.0)(batch, agent, generator())
        noise = Noisy(Future(1.0), std=0.25)(batch, agent, generator())["desired_goal"] - plain["desired_goal"]
        assert noise.mean() == pytest.approx(0.0, abs=0.02)
        assert noise.std() == pytest.approx(0.25, abs=0.02)

    def test_leaves_original_goals_without_noise(self):
        batch = make_batch(50)
        relabelled = Noisy(ModelBased(0.5, steps=2, noise=0.0), std=0.25)(batch, make_agent(), generator())
        kept = ~relabelled["relabelled"]
        assert kept.any()
        assert torch.equal(relabelled["desired_goal"][kept], batch["desired_goal"][kept])

    def test_checks_what_the_other_needs(self):
        with pytest.raises(UserError, match=r"model\.dynamics is null"):
            make_agent(relabel=Noisy(ModelBased(0.8, 5, 0.2), 0.01), dynamics=None)

    def test_around_goals_for_the_imitation_alone_is_the_same_as_within(self):
        batch, agent = make_batch(50, scale=1e-3), make_agent()
        around, within = Noisy(ImitationOnly(Future(0.8)), std=0.1), ImitationOnly(Noisy(Future(0.8), std=0.1))
        one, other = (relabel(batch, agent, generator()) for relabel in (around, within))
        assert (one == other).all()
        assert torch.equal(one["desired_goal"], batch["desired_goal"])


class TestWhereRight:
    def test_the_others_goals_are_taken_where_the_prediction_is_near_and_hindsight_goals_elsewhere(self):
        batch, agent = make_batch(200, scale=1e-3), make_agent()
        # The toy model adds 1 to what is achieved: by these it is wrong by 0, up to 2, in the first goal entry.
        error = torch.linspace(0.0, 2.0, 200)
        batch["next", "achieved_goal"] = batch["achieved_goal"] + 1.0
        batch["next", "achieved_goal"][:, 0] += error
        other = ModelBased(1.0, steps=0, noise=0.0)
        others = other(batch, agent, generator())["desired_goal"]
        goals = WhereRight(other, error=0.5)(batch, agent, generator())["desired_goal"]
        right = error < 0.5
        assert torch.equal(goals[right], others[right])
        assert torch.equal(goals[~right], batch["hindsight_goal"][~right])

    def test_the_model_is_walked_where_it_is_right_alone(self):
        batch, agent = make_batch(200), make_agent()  # whose rows it misses by 499
        WhereRight(ModelBased(1.0, steps=5, noise=0.0), error=1.0)(batch, agent, generator())
        assert [len(state) for state, _ in agent.dynamics.calls if len(state)] == [200], "the question alone"

    def test_needs_a_model_whatever_the_other_does(self):
        with pytest.raises(UserError, match=r"model\.dynamics is null.*which WhereRight asks"):
            make_agent(relabel=WhereRight(Future(0.8), 0.01), dynamics=None)


class TestImitationOnly:
    def test_goals_and_rewards_of_the_rl_losses_are_the_original_ones(self):
        batch, agent = make_batch(200), make_agent()
        batch["desired_goal"][:100] = batch["next", "achieved_goal"][:100]
        relabelled = ImitationOnly(ModelBased(0.8, 5, 0.2))(batch, agent, generator())
        assert torch.equal(relabelled["desired_goal"], batch["desired_goal"])
        assert torch.equal(relabelled["reward"], Keep()(batch, agent, generator())["reward"])

    def test_goals_of_the_supervised_loss_are_the_others(self):
        batch, agent = make_batch(200), make_agent()
        relabelled = ImitationOnly(ModelBased(0.8, 5, 0.2))(batch, agent, generator())
        plain = ModelBased(0.8, 5, 0.2)(batch, agent, generator())
        assert torch.equal(relabelled["imitation_goal"], plain["desired_goal"])
        assert torch.equal(relabelled["relabelled"], plain["relabelled"])

    def test_checks_what_the_other_needs(self):
        with pytest.raises(UserError, match=r"model\.dynamics is null"):
            make_agent(relabel=ImitationOnly(ModelBased(0.8, 5, 0.2)), dynamics=None)


class Counting(Future):
    """A relabeller with a state."""

    count = 0

    def worker_state(self):
        return {"count": self.count}

    def load_worker_state(self, state):
        self.count = state["count"]


@pytest.mark.parametrize("around", [lambda own: Noisy(own, std=0.1), lambda own: Mixed([Future(0.1), own])])
def test_the_state_of_a_relabeller_within_another_is_saved_and_restored(around):
    saved, restored = Counting(0.5), Counting(0.5)
    saved.count = 3
    around(restored).load_worker_state(around(saved).worker_state())
    assert restored.count == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Future(1.1), "model.relabel.ratio is 1.1; allowed: a probability from 0 to 1"),
        (lambda: ModelBased(0.8, -1, 0.2), "model.relabel.steps is -1; allowed: an integer of at least 0"),
        (lambda: ModelBased(0.8, 5, -0.2), "model.relabel.noise is -0.2; allowed: a number of at least 0"),
        (lambda: RandomGoals(-1.0), "model.relabel.ratio is -1.0; allowed: a probability from 0 to 1"),
        (lambda: Noisy(Keep(), -0.1), "model.relabel.std is -0.1; allowed: a number of at least 0"),
        (lambda: WhereRight(Keep(), -0.1), "model.relabel.error is -0.1; allowed: a number of at least 0"),
    ],
)
def test_a_setting_out_of_range_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
