import pytest
import torch
from toy import generator, make_task

from mher_pl.errors import UserError
from mher_pl.exploration import Guided, NoisyActor

ROWS, SIZE = 4000, 2
OBSERVATION, GOAL = torch.arange(3.0 * ROWS).view(ROWS, 3), torch.arange(2.0 * ROWS).view(ROWS, 2)


def act(observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    return torch.full((len(observation), SIZE), 0.25)


def explore(
    noise: float = 0.2, random_action_probability: float = 0.3, random: bool = False, policy=act, seed: int = 0
):
    exploration = NoisyActor(noise, random_action_probability)
    return exploration(policy, OBSERVATION, GOAL, SIZE, generator(seed), random, begins=False)


def test_rows_are_the_actors_with_noise_or_now_and_then_uniform_each_by_its_own_draw():
    actions = explore(noise=0.01, random_action_probability=0.3)
    near = ((actions - 0.25).abs() < 0.05).all(dim=1)
    assert near.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert (actions[near] - 0.25).std().item() == pytest.approx(0.01, rel=0.05)
    assert actions[~near].std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.02)
    assert actions[~near].mean().item() == pytest.approx(0.0, abs=0.03)
    assert len(actions.unique(dim=0)) == ROWS


def test_the_actor_sees_every_row():
    seen = []
    actions = explore(0.0, 0.0, policy=lambda *inputs: seen.append(inputs) or OBSERVATION[:, :SIZE] / 1e5)
    assert torch.equal(actions, OBSERVATION[:, :SIZE] / 1e5)
    ((observation, goal),) = seen
    assert torch.equal(observation, OBSERVATION)
    assert torch.equal(goal, GOAL)


def test_actions_stay_in_their_bounds():
    assert explore(noise=5.0, random_action_probability=0.0).abs().max() == 1.0


@pytest.mark.parametrize("how", [{"random": True}, {"random_action_probability": 1.0}])
def test_where_no_row_needs_the_actor_it_is_not_asked(how):
    actions = explore(**how, policy=lambda *inputs: pytest.fail("the actor was asked"))
    assert actions.shape == (ROWS, SIZE)
    assert actions.std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.02)


def test_all_randomness_is_the_generators():
    assert torch.equal(explore(seed=1), explore(seed=1))
    assert not torch.equal(explore(seed=1), explore(seed=2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.3), "data.exploration.noise is -0.1; allowed: a number of at least 0"),
        ((0.2, 1.3), "data.exploration.random_action_probability is 1.3; allowed: a probability from 0 to 1"),
    ],
)
def test_a_setting_out_of_range_is_named(arguments, message):
    with pytest.raises(UserError, match=message):
        NoisyActor(*arguments)


class Beside:
    """A guide whose target is the first two entries of an observation, and whose actions are 0.75."""

    def act(self, observation: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        self.asked = observation, goal
        return torch.full((len(observation), SIZE), 0.75)

    def place(self, observation: torch.Tensor) -> torch.Tensor:
        return observation[:, 1:]

    def target(self, observation: torch.Tensor) -> torch.Tensor:
        return observation[:, :2]


class TestGuided:
    def make(
        self, guided: float, steps: int = 8, spread: float = 0.0, far: float = 1e9, held: tuple[int, ...] = ()
    ) -> Guided:
        exploration = Guided(0.0, 0.0, guided, steps, [spread, spread], far, list(held))
        exploration.meet(Beside())
        return exploration

    def step(self, exploration: Guided, begins: bool, seed: int = 0) -> torch.Tensor:
        """Return which rows [ROWS] the guide acts in."""
        actions = exploration(act, OBSERVATION, GOAL, SIZE, generator(seed), False, begins)
        assert ((actions == 0.25) | (actions == 0.75)).all()
        return actions[:, 0] == 0.75

    def test_begins_each_episode_with_the_guide_or_the_actor(self):
        assert self.step(self.make(0.3), begins=True).float().mean().item() == pytest.approx(0.3, abs=0.03)
        assert self.step(self.make(1.0), begins=True).all()
        assert not self.step(self.make(0.0), begins=True).any()

    def test_changes_turns_after_as_many_steps_in_the_mean(self):
        exploration = self.make(0.5, steps=4)
        before = self.step(exploration, begins=True, seed=1)
        changed = self.step(exploration, begins=False, seed=2) != before
        assert changed.float().mean().item() == pytest.approx(0.5 / 4, abs=0.02)

    def test_sends_the_guide_to_points_around_its_target_which_stay_for_a_turn(self):
        exploration = self.make(1.0, steps=10_000_000, spread=0.5)
        self.step(exploration, begins=True)
        away = exploration.guide.asked[1] - OBSERVATION[:, :2]
        assert away.std().item() == pytest.approx(0.5, abs=0.02)
        assert away.mean().item() == pytest.approx(0.0, abs=0.03)
        exploration(act, OBSERVATION + 7.0, GOAL, SIZE, generator(3), False, False)
        assert torch.equal(exploration.guide.asked[1], OBSERVATION[:, :2] + away), "the object moves, the points do not"

    def test_leads_in_all_turns_to_the_target_itself_where_that_is_far(self):
        exploration = self.make(0.0, spread=0.5, far=1.5)  # the guide's point is always (1, 1) away
        assert not self.step(exploration, begins=True).any()
        exploration.far = 1.4
        assert self.step(exploration, begins=False).all()
        assert torch.equal(exploration.guide.asked[1], OBSERVATION[:, :2])

    def test_holds_entries_that_the_guide_does_not_need_throughout_its_turns(self):
        exploration = self.make(0.5, steps=10_000_000, held=(1,))
        first, second = (exploration(act, OBSERVATION, GOAL, SIZE, generator(7), False, b) for b in (True, False))
        led = first[:, 0] == 0.75
        assert torch.equal(first, second)
        assert (first[~led, 1] == 0.25).all(), "the actor's turns are its own"
        assert first[led, 1].mean().item() == pytest.approx(0.0, abs=0.05)
        assert set(first[led, 1].tolist()) == {-1.0, 1.0}

    def test_no_uniform_action_has_a_say_in_entries_that_are_held(self):
        exploration = self.make(0.5, steps=10_000_000, held=(1,))
        exploration.random_action_probability = 1.0
        first, second = (exploration(act, OBSERVATION, GOAL, SIZE, generator(int(b)), False, b) for b in (True, False))
        assert first[:, 0].std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.02)
        assert not torch.equal(first[:, 0], second[:, 0])
        assert torch.equal(first[:, 1], second[:, 1])
        assert set(first[:, 1].tolist()) == {-1.0, 0.25, 1.0}, "the guide's and the actor's"
        warm_up = exploration(act, OBSERVATION, GOAL, SIZE, generator(2), True, True)
        assert warm_up[:, 1].std().item() == pytest.approx((1 / 3) ** 0.5, abs=0.02)

    def test_needs_a_spread_for_each_entry_of_a_goal(self):
        with pytest.raises(UserError, match=r"data\.exploration\.spread is \[0\.1\]; allowed: 2 numbers, one for each"):
            Guided(0.2, 0.3, 0.5, 8, [0.1], 0.15, []).check(make_task())

    def test_holds_entries_of_an_action_alone(self):
        with pytest.raises(UserError, match=r"exploration\.held is \[2\]; allowed: entries of an action, from 0 to 1"):
            Guided(0.2, 0.3, 0.5, 8, [0.1, 0.1], 0.15, [2]).check(make_task())

    def test_asks_for_an_agent_with_a_guide(self):
        with pytest.raises(UserError, match=r"data\.exploration is Guided, but the agent has no guide; allowed: "):
            Guided(0.2, 0.3, 0.5, 8, [0.1, 0.1], 0.15, []).meet(None)
