import pytest
import torch
from toy import generator, make_agent, make_batch, make_task, make_task_of_unclear_goals, reached

from mher_pl.batch_source import MixedRollouts, ModelRollouts, Replayed
from mher_pl.errors import UserError
from mher_pl.relabel import Future, ImitationOnly, Keep
from mher_pl.td_target import ValueExpansion


def rollouts(steps: int = 3, noise: float = 0.2, capacity: int = 1000) -> ModelRollouts:
    return ModelRollouts(steps, noise, capacity)


def relabelled(rows: int, relabel=None, agent=None):
    return (relabel or Keep())(make_batch(rows), agent or make_agent(), generator())


def path_step(batch) -> torch.Tensor:
    """How many steps of the toy model lie between a replayed state, 1000 i, and the batch's."""
    return (batch["observation"][:, 0] % 1000).round()


def test_replayed_is_the_batch_itself():
    batch = relabelled(5)
    assert Replayed()(batch, make_agent(), generator()) is batch


def test_every_transition_is_one_of_the_model():
    agent, source = make_agent(), rollouts()
    batch = source(relabelled(20, agent=agent), agent, generator())
    assert torch.equal(batch["next", "observation"], batch["observation"] + 1.0)  # replayed ones move by 500
    assert len(batch) == 20


def test_paths_branch_off_the_replayed_states_themselves():
    agent, source, batch = make_agent(), rollouts(steps=3), make_batch(20)
    virtual = source.roll_out(Keep()(batch, agent, generator()), agent, generator())
    assert len(virtual) == 60
    for k in range(3):
        assert torch.equal(virtual["observation"][20 * k : 20 * (k + 1)], batch["observation"] + k)


def test_every_step_of_the_paths_can_be_drawn():
    agent, source = make_agent(), rollouts(steps=3)
    batch = relabelled(20, agent=agent)
    drawn = torch.cat([path_step(source(batch, agent, generator(seed))) for seed in range(20)])
    assert torch.allclose(torch.bincount(drawn.long()) / len(drawn), torch.full((3,), 1 / 3), atol=0.1)


def test_the_reward_is_the_tasks_own_of_the_virtual_next_state():
    agent, source, batch = make_agent(), rollouts(steps=3), make_batch(20)
    batch["desired_goal"] = batch["observation"][:, [2, 0]] + 2.0  # reached by the second step
    virtual = source.roll_out(Keep()(batch, agent, generator()), agent, generator())
    achieved = virtual["next", "observation"][:, [2, 0]].numpy()
    assert torch.equal(virtual["reward"], torch.as_tensor(reached(achieved, virtual["desired_goal"].numpy(), {})))
    assert virtual["reward"].tolist() == [-1.0] * 20 + [0.0] * 20 + [-1.0] * 20


def test_paths_run_under_the_goals_of_the_relabelled_batch():
    agent, source = make_agent(), rollouts(steps=2, noise=0.0)
    batch = relabelled(20, Future(0.8), agent)
    virtual = source.roll_out(batch, agent, generator())
    assert torch.equal(virtual["desired_goal"], batch["desired_goal"].repeat(2, 1))
    assert torch.allclose(virtual["action"], agent.act(virtual["observation"], virtual["desired_goal"]))


def test_the_actor_itself_acts_and_the_model_gets_the_actions_that_are_stored():
    agent, source = make_agent(), rollouts(steps=2)
    for parameter in agent.actor_target.parameters():
        parameter.fill_(torch.nan)
    virtual = source.roll_out(relabelled(20, agent=agent), agent, generator())
    assert torch.isfinite(virtual["action"]).all()
    assert torch.equal(torch.cat([action for _, action in agent.dynamics.calls]), virtual["action"])


def test_exploration_noise_is_added_and_clipped():
    agent, batch = make_agent(), relabelled(500)
    quiet, noisy, wild = (
        rollouts(steps=1, noise=noise).roll_out(batch, agent, generator())["action"] for noise in (0.0, 0.01, 50.0)
    )
    assert (noisy - quiet).std() == pytest.approx(0.01, rel=0.1)
    assert wild.abs().max() == 1.0


def test_no_virtual_action_is_imitated_and_no_gradient_leaks():
    agent, source = make_agent(imitation_weight=3.0), rollouts()
    batch = source(relabelled(20, Future(1.0), agent), agent, generator())
    assert not batch["imitated"].any()
    assert not any(value.requires_grad for value in batch.values(include_nested=True, leaves_only=True))


def test_transitions_of_earlier_batches_stay_in_the_buffer():
    agent, source = make_agent(), rollouts(steps=1)
    early = relabelled(20, agent=agent)
    source(early, agent, generator())
    late = relabelled(20, agent=agent)
    late["observation"] = late["observation"] + 100_000.0
    drawn = torch.cat([source(late, agent, generator(seed))["observation"][:, 0] for seed in range(3)])
    assert (drawn < 50_000).any()
    assert (drawn > 50_000).any()


def test_a_full_buffer_forgets_the_oldest_transitions_first():
    agent, source = make_agent(), rollouts(steps=1, capacity=50)
    for number in range(4):
        batch = relabelled(20, agent=agent)
        batch["observation"] = torch.full((20, 3), float(number))
        source.store(source.roll_out(batch, agent, generator()))
    assert source.filled == 50
    kept = source.buffer["observation"][:, 0]
    assert torch.bincount(kept.long()).tolist() == [0, 10, 20, 20]


def test_more_transitions_than_the_buffer_holds_leave_the_last_ones():
    agent, source = make_agent(), rollouts(steps=3, capacity=7)
    source(relabelled(20, agent=agent), agent, generator())
    assert source.filled == 7
    assert (path_step(source.buffer) == 2).all()


@pytest.mark.parametrize("rounds", [1, 2, 5], ids=["before", "when", "after the buffer was"])
def test_state_restores_a_buffer_exactly(rounds):
    agent, source = make_agent(), rollouts(steps=2, capacity=80)
    batch = relabelled(20, agent=agent)
    for seed in range(rounds):
        source(batch, agent, generator(seed))
    restored = rollouts(steps=2, capacity=80)
    restored.load_worker_state(source.worker_state())
    for seed in range(9, 12):
        one, other = (each(batch, agent, generator(seed)) for each in (source, restored))
        assert (one == other).all()


def test_only_the_filled_part_is_saved():
    agent, source = make_agent(), rollouts(steps=1, capacity=1_000_000)
    source(relabelled(20, agent=agent), agent, generator())
    assert len(source.worker_state()["rows"]["observation"]) == 20


def test_a_buffer_that_memory_does_not_hold_is_refused():
    with pytest.raises(UserError, match=r"model\.batch_source\.capacity is 2000000000, which takes .* GB of memory"):
        make_agent(batch_source=rollouts(capacity=2_000_000_000))


def test_a_buffer_of_another_capacity_is_refused():
    agent, source = make_agent(), rollouts(capacity=100)
    source(relabelled(5, agent=agent), agent, generator())
    with pytest.raises(UserError, match=r"model\.batch_source\.capacity is 90; allowed: the 100 of ckpt_path"):
        rollouts(capacity=90).load_worker_state(source.worker_state())


def test_rollouts_need_a_model_and_must_know_which_goals_states_achieve():
    with pytest.raises(UserError, match=r"model\.dynamics is null.*ModelRollouts"):
        make_agent(batch_source=rollouts(), dynamics=None)
    with pytest.raises(UserError, match=r"data\.goal_indices is null, but model's ModelRollouts must know"):
        make_agent(make_task_of_unclear_goals(), batch_source=rollouts())


def test_paths_of_states_with_an_achieved_goal_give_observations_and_the_goals_reward():
    agent, source, batch = make_agent(make_task(goal_indices=None)), rollouts(steps=3), make_batch(20)
    batch["achieved_goal"] = batch["achieved_goal"] + 7.0  # no part of the observation
    batch["desired_goal"] = batch["achieved_goal"] + 2.0  # reached by the second step
    virtual = source.roll_out(Keep()(batch, agent, generator()), agent, generator())
    assert torch.equal(virtual["observation"][20:40], batch["observation"] + 1.0)
    assert torch.equal(virtual["next", "observation"][20:40], batch["observation"] + 2.0)
    assert virtual["reward"].tolist() == [-1.0] * 20 + [0.0] * 20 + [-1.0] * 20


def test_a_virtual_step_to_the_goal_ends_its_episode_where_episodes_do_and_none_fails():
    task, source, batch = make_task(), rollouts(steps=3), make_batch(20)
    batch["desired_goal"] = batch["observation"][:, [2, 0]] + 2.0  # reached by the second step
    batch["failed"][:] = True
    for ends, expected in ((False, []), (True, list(range(20, 40)))):
        task.ended_at_goal = ends
        agent = make_agent(task)
        virtual = source.roll_out(Keep()(batch, agent, generator()), agent, generator())
        assert virtual["terminated"].nonzero().flatten().tolist() == expected
        assert not virtual["failed"].any()


def test_an_imitation_of_virtual_actions_is_refused():
    with pytest.raises(UserError, match=r"model\.imitation_weight is 3.0; allowed: 0 with ModelRollouts"):
        make_agent(batch_source=rollouts(), imitation_weight=3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "model.batch_source.steps is 0; allowed: an integer of at least 1"),
        ({"noise": -1.0}, "model.batch_source.noise is -1.0; allowed: a number of at least 0"),
        ({"capacity": 0}, "model.batch_source.capacity is 0; allowed: an integer of at least 1"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        rollouts(**arguments)


class TestMixedRollouts:
    def make(self, noise=0.2, random_action_probability=0.3, hindsight_ratio=0.8, real_share=0.25, steps=3):
        return MixedRollouts(steps, noise, random_action_probability, hindsight_ratio, real_share, capacity=100_000)

    @pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 5), (0.047, 1), (1.0, 20)])
    def test_a_share_of_the_batch_is_replayed_and_the_rest_of_the_model(self, share, count):
        agent, replayed = make_agent(), relabelled(20, Future(1.0))
        batch = self.make(real_share=share)(replayed, agent, generator())
        moved = batch["next", "observation"] - batch["observation"]
        assert torch.allclose(moved[:count], torch.tensor(500.0))
        assert torch.allclose(moved[count:], torch.tensor(1.0), atol=0.01)
        assert len(batch) == 20
        for key in ("observation", "action", "desired_goal", "reward", "terminated", "failed", "imitated"):
            assert torch.equal(batch[key][:count], replayed[key][:count])

    def test_paths_go_towards_hindsight_goals_or_the_episodes_own_whatever_the_relabelling(self):
        agent, source = make_agent(), self.make(steps=1, real_share=0.0)
        replayed = make_batch(2000)
        replayed["observation"] = replayed["observation"] * 0.0  # so that rows are told by their goals alone
        replayed = Future(1.0)(replayed, agent, generator())
        replayed["desired_goal"] = replayed["desired_goal"] * 0.0 + 7.0
        source(replayed, agent, generator())
        goals = source.buffer["desired_goal"][: source.filled]
        own, hindsight = ((goals == replayed[key]).all(dim=1) for key in ("original_goal", "hindsight_goal"))
        assert (own ^ hindsight).all()
        assert hindsight.float().mean() == pytest.approx(0.8, abs=0.03)

    def test_some_virtual_actions_are_uniform(self):
        agent = make_agent()
        replayed = relabelled(2000, Future(1.0), agent)

        def actions(probability):
            source = self.make(steps=1, noise=0.0, random_action_probability=probability, hindsight_ratio=1.0)
            source(replayed, agent, generator())
            return source.buffer["action"][: source.filled]

        assert (actions(0.3) != actions(0.0)).all(dim=1).float().mean() == pytest.approx(0.3, abs=0.04)

    def test_the_replayed_rows_can_be_imitated_under_goals_of_their_own(self):
        agent, source = make_agent(batch_source=self.make(), imitation_weight=3.0), self.make()
        batch = source(relabelled(20, Future(1.0), agent), agent, generator())
        assert batch["imitated"].tolist() == [True] * 5 + [False] * 15
        assert batch["imitation_goal"] is batch["desired_goal"]
        replayed = relabelled(20, ImitationOnly(Future(1.0)), agent)
        batch = source(replayed, agent, generator())
        assert torch.equal(batch["imitation_goal"][:5], replayed["hindsight_goal"][:5])
        assert torch.equal(batch["desired_goal"][:5], replayed["original_goal"][:5])

    def test_state_restores_a_buffer_exactly(self):
        agent, source, restored = make_agent(), self.make(), self.make()
        replayed = relabelled(20, Future(1.0), agent)
        source(replayed, agent, generator())
        restored.load_worker_state(source.worker_state())
        one, other = (each(replayed, agent, generator(3)) for each in (source, restored))
        assert (one == other).all()

    @pytest.mark.parametrize("name", ["random_action_probability", "hindsight_ratio", "real_share"])
    def test_a_setting_out_of_range_is_named(self, name):
        with pytest.raises(UserError, match=f"model.batch_source.{name} is 1.5; allowed: a probability from 0 to 1"):
            self.make(**{name: 1.5})


@pytest.mark.parametrize("source", [rollouts(), MixedRollouts(3, 0.2, 0.3, 0.5, 0.2, 1000)], ids=["all", "most"])
def test_virtual_transitions_hold_all_that_targets_and_losses_read(source):
    agent = make_agent()
    batch = source(relabelled(20, agent=agent), agent, generator())
    for state in (batch, batch["next"]):
        assert torch.equal(state["achieved_goal"], state["observation"][:, [2, 0]])
    assert not batch["relabelled"].any()
    assert ValueExpansion(3)(batch, agent).shape == (20,)
