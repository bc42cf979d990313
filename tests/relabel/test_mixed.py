import pytest
import torch
from toy import generator, make_agent, make_batch

from mher_pl.errors import UserError
from mher_pl.relabel import Curriculum, Future, ImitationOnly, Mixed, ModelBased, Noisy, OtherGoals

MANY = 4000


def mixed() -> Mixed:
    return Mixed([ModelBased(0.2, steps=0, noise=0.0), Future(0.3), OtherGoals(0.4)])


def test_each_relabeller_has_its_share_of_rows_and_the_rest_keep_their_goals():
    batch = make_batch(MANY)
    relabelled = mixed()(batch, make_agent(), generator())
    goal = relabelled["desired_goal"]
    own = (goal == batch["next", "achieved_goal"]).all(dim=1)
    hindsight = (goal == batch["hindsight_goal"]).all(dim=1)
    kept = ~relabelled["relabelled"]
    for rows, share in ((own, 0.2), (hindsight, 0.3), (kept, 0.1)):
        assert rows.float().mean().item() == pytest.approx(share, abs=0.03)
    assert torch.equal(goal[kept], batch["desired_goal"][kept])
    others = ~(own | hindsight | kept)
    desired = {tuple(row) for row in batch["desired_goal"].tolist()}
    assert all(tuple(row) in desired for row in goal[others].tolist())


def test_goals_that_others_were_asked_for_are_not_imitated():
    batch = make_batch(MANY)
    relabelled = mixed()(batch, make_agent(), generator())
    goal = relabelled["desired_goal"]
    reached = (goal == batch["next", "achieved_goal"]).all(dim=1) | (goal == batch["hindsight_goal"]).all(dim=1)
    assert torch.equal(relabelled["imitated"], reached)
    assert not OtherGoals(1.0)(batch, make_agent(), generator())["imitated"].any()


def test_a_state_is_kept_where_one_of_them_keeps_one():
    class Counts(Future):
        def worker_state(self):
            return {"count": 1}

    assert not mixed().keeps_state
    assert not Noisy(Future(0.5), std=0.1).keeps_state
    assert Mixed([Future(0.5), Noisy(Counts(0.5), std=0.1)]).keeps_state


def test_rewards_are_those_of_the_mixed_goals():
    batch = make_batch(200)
    relabelled = mixed()(batch, make_agent(), generator())
    own = (relabelled["desired_goal"] == batch["next", "achieved_goal"]).all(dim=1)
    assert own.any()
    assert torch.equal(relabelled["reward"] == 0.0, own)


@pytest.mark.parametrize(
    "relabel",
    [
        Curriculum(0.5, share=0.5, proximity_weight=1.0, growth=0.1),
        ImitationOnly(Future(0.5)),
        Mixed([Future(0.5)]),
        Noisy(ImitationOnly(Future(0.5)), std=0.1),
    ],
    ids=lambda relabel: type(relabel).__name__,
)
def test_relabellers_that_do_more_than_give_goals_are_refused(relabel):
    with pytest.raises(UserError) as refused:
        Mixed([OtherGoals(0.1), relabel])
    assert str(refused.value).startswith(
        f"model.relabel.relabellers has {type(relabel).__name__}; allowed: relabellers"
    )


def test_the_model_is_walked_for_its_own_rows_alone():
    agent = make_agent()
    Mixed([ModelBased(0.1, steps=1, noise=0.0), Future(0.9)])(make_batch(1000), agent, generator())
    assert 20 < len(agent.dynamics.calls[0][0]) < 90


def test_what_the_relabellers_need_is_checked():
    with pytest.raises(UserError, match=r"model\.dynamics is null"):
        make_agent(relabel=mixed(), dynamics=None)


@pytest.mark.parametrize("relabellers", [[], [Future(0.6), OtherGoals(0.5)]], ids=["none", "too much"])
def test_shares_beyond_the_whole_are_refused(relabellers):
    with pytest.raises(UserError, match=r"model\.relabel\.relabellers have the ratios .*; allowed: some that add up"):
        Mixed(relabellers)
