from pathlib import Path

import pytest
import yaml

from mher_pl.storage.settings import flatten

ROOT = Path(__file__).parent.parent
CONFIGS, BENCHMARKS = ROOT / "configs", ROOT / "benchmarks"
EPISODES = {  # of an epoch: the paper's tasks, the authors' door, and manipulation
    **{"point2d": 1, "four_room": 1, "fetch": 5, "sawyer": 5, "reacher": 15},
    "door": 15,
    **{"push": 20, "pick_and_place": 20, "slide": 20},
}
EPOCHS = {"push": 50, "pick_and_place": 100, "slide": 300}
STEPS = {"push": 50, "pick_and_place": 50, "slide": 50}


def test_every_task_is_known_here():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == EPISODES.keys()


@pytest.mark.parametrize("task", EPISODES)
def test_every_task_builds_with_the_papers_protocol(task: str, build):
    config = yaml.safe_load((CONFIGS / f"{task}.yaml").read_text())
    assert config["trainer"]["max_epochs"] == EPOCHS.get(task, 30)
    assert config["evaluation"]["episodes"] == 100
    assert config["warmup"] == {"episodes": 20, "updates": 100, "batch_size": 512}
    data = build(task).datamodule
    assert (data.task.horizon, data.episodes_per_epoch) == (STEPS.get(task, 100), EPISODES[task])
    assert (data.batches_per_episode, data.batch_size) == (5, 64)
    assert (data.exploration.noise, data.exploration.random_action_probability) == (0.2, 0.3)
    assert data.capacity == 1_000_000


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for p in sorted([*CONFIGS.rglob("*.yaml"), *BENCHMARKS.rglob("*.yaml")])]
)
def test_every_setting_has_a_comment(path: str):
    bare = []
    text = (ROOT / path).read_text().split("\npanels:  # ")[0]  # the comment there is that of all panels
    for line in text.splitlines():
        is_setting = ":" in line and not line.strip().startswith(("#", "-", "class_path:", "init_args:"))
        if (
            is_setting
            and "#" not in line
            and line.strip() not in ("data:", "model:", "trainer:", "warmup:", "relabel_goals:", "goal_map:")
        ):
            bare.append(line)
    assert not bare


def test_mher_grasp_is_mher_relay_but_for_what_grasping_needs():
    """Configs cannot build on one another, so the two overlays could part unnoticed."""
    files = (CONFIGS / "algorithms" / f"{name}.yaml" for name in ("mher_grasp", "mher_relay"))
    grasp, relay = (dict(flatten(yaml.safe_load(file.read_text()))) for file in files)
    assert grasp.keys() == relay.keys()
    assert {key for key, value in grasp.items() if relay[key] != value} == {
        "algorithm",
        "data.exploration.spread",
        "data.exploration.held",
        "data.sampler.distance",
        "data.sampler.entries",
    }
