from itertools import combinations

import pytest
import torch
from toy import generator, make_agent, make_batch

from mher_pl.errors import UserError
from mher_pl.relabel.curriculum import Curriculum, select, similarities


def points(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 2, generator=generator(seed))


def objective(goals, desired, chosen, p) -> float:
    """(1 - p) F_div + p F_prox of the chosen rows, written as the sums that define them."""
    similarity, distance = similarities(goals), (goals - desired).norm(dim=1)
    diversity = sum(max(similarity[j, i].item() for i in chosen) for j in range(len(goals)))
    proximity = -sum((distance[i] / distance.mean()).item() for i in chosen)
    return (1 - p) * diversity + p * proximity


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_choice_equals_trying_every_row_at_every_step(p, seed):
    goals, desired = points(8, seed), points(8, 100 + seed)
    expected = []
    for _ in range(5):
        rest = [row for row in range(8) if row not in expected]
        expected.append(max(rest, key=lambda row: objective(goals, desired, [*expected, row], p)))
    assert select(goals, desired, 5, p).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_choice_is_within_its_bound_of_the_best_of_all_choices(seed):
    goals, desired = points(9, seed), points(9, 100 + seed)
    best = max(objective(goals, desired, chosen, 0.0) for chosen in combinations(range(9), 4))
    greedy = objective(goals, desired, select(goals, desired, 4, 0.0).tolist(), 0.0)
    assert (1 - 1 / torch.e) * best <= greedy <= best + 1e-5


def test_diversity_alone_takes_one_goal_of_each_cluster():
    centres = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    goals = (centres.unsqueeze(1) + 0.1 * points(20).view(4, 5, 2)).view(20, 2)
    rows = select(goals, torch.zeros(20, 2), 4, 0.0)
    assert sorted((rows // 5).tolist()) == [0, 1, 2, 3]


def test_proximity_alone_takes_the_goals_nearest_to_the_desired_ones():
    goals, desired = points(30), points(30, 1)
    nearest = (goals - desired).norm(dim=1).argsort()[:10]
    assert select(goals, desired, 10, 1.0).tolist() == nearest.tolist()


def test_equal_goals_and_reached_goals_do_no_harm():
    same = torch.ones(10, 2)
    assert len(select(same, same, 4, 0.5).unique()) == 4
    assert len(select(same[:1], same[:1], 1, 0.5)) == 1


def test_the_unit_of_the_goals_does_not_matter():
    goals, desired = points(30), points(30, 1)
    assert select(goals, desired, 10, 0.5).tolist() == select(goals * 1000, desired * 1000, 10, 0.5).tolist()


def test_nor_does_where_the_goals_lie():
    goals = points(30)
    assert torch.allclose(similarities(goals), similarities(goals + 1000.0), atol=1e-2)


def test_half_of_the_candidates_stay_each_at_most_once():
    batch, agent = make_batch(128), make_agent()
    chosen = Curriculum(0.8, share=0.5, proximity_weight=1.0, growth=0.1)(batch, agent, generator())
    rows = (chosen["observation"][:, 0] / 1000).round().long()
    assert len(rows) == len(rows.unique()) == 64
    assert torch.equal(chosen["action"], batch["action"][rows])


def test_the_chosen_rows_are_relabelled_as_by_her():
    batch = make_batch(4000)[:, None].view(40, 100)[0]  # 100 candidates
    chosen = Curriculum(1.0, share=0.5, proximity_weight=1.0, growth=0.1)(batch, make_agent(), generator())
    assert torch.equal(chosen["desired_goal"], chosen["hindsight_goal"])
    kept = Curriculum(0.0, share=0.5, proximity_weight=1.0, growth=0.1)(batch, make_agent(), generator())
    assert torch.equal(kept["desired_goal"], kept["original_goal"])
    shares = [
        Curriculum(0.8, share=0.5, proximity_weight=1.0, growth=0.1)(batch, make_agent(), generator(seed))["relabelled"]
        for seed in range(40)
    ]
    assert torch.cat(shares).float().mean() == pytest.approx(0.8, abs=0.03)


def test_proximity_gains_weight_with_every_epoch(monkeypatch):
    relabel, seen = Curriculum(0.8, share=0.5, proximity_weight=2.0, growth=0.5), []
    monkeypatch.setattr("mher_pl.relabel.curriculum.select", lambda *args: seen.append(args[3]) or torch.arange(5))
    for epoch in (0, 1, 2, 100_000):
        agent = make_agent()
        monkeypatch.setattr(type(agent), "current_epoch", epoch)
        relabel(make_batch(10), agent, generator())
    weights = [p / (1 - p) for p in seen[:3]]
    assert weights == pytest.approx([2.0, 3.0, 4.5])
    assert seen[3] == 1.0, "and stays finite"


def test_later_epochs_choose_goals_nearer_to_the_desired_ones(monkeypatch):
    relabel, batch = Curriculum(0.8, share=0.5, proximity_weight=0.1, growth=0.3), make_batch(100)
    batch["hindsight_goal"], batch["desired_goal"] = points(100), points(100, 1)
    distances = []
    for epoch in (0, 30):
        agent = make_agent()
        monkeypatch.setattr(type(agent), "current_epoch", epoch)
        chosen = relabel(batch, agent, generator())
        distances.append((chosen["hindsight_goal"] - chosen["original_goal"]).norm(dim=1).mean())
    assert distances[1] < distances[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, "model.relabel.share is 0.0"),
        ({"share": 1.5}, "model.relabel.share is 1.5"),
        ({"proximity_weight": 0.0}, "model.relabel.proximity_weight is 0.0"),
        ({"growth": -0.1}, "model.relabel.growth is -0.1"),
    ],
)
def test_a_setting_out_of_range_is_named(change, message):
    with pytest.raises(UserError, match=message):
        Curriculum(**{"ratio": 0.8, "share": 0.5, "proximity_weight": 1.0, "growth": 0.1} | change)
