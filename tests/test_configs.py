from pathlib import Path

import pytest
import yaml

CONFIGS = Path(__file__).parent.parent / "configs"
TASKS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def test_the_five_tasks_of_the_paper_and_the_authors_door_have_a_config():
    assert TASKS == ["door", "fetch", "four_room", "point2d", "reacher", "sawyer"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_builds_with_the_papers_protocol(task: str, build):
    config = yaml.safe_load((CONFIGS / f"{task}.yaml").read_text())
    episodes = {"point2d": 1, "four_room": 1, "fetch": 5, "sawyer": 5, "reacher": 15, "door": 15}[task]
    assert config["trainer"]["max_epochs"] == 30
    assert config["evaluation"]["episodes"] == 100
    assert config["warmup"] == {"episodes": 20, "updates": 100, "batch_size": 512}
    data = build(task).datamodule
    assert (data.task.horizon, data.episodes_per_epoch, data.batches_per_episode, data.batch_size) == (
        100,
        episodes,
        5,
        64,
    )
    assert (data.exploration.noise, data.exploration.random_action_probability) == (0.2, 0.3)
    assert data.capacity == 1_000_000


@pytest.mark.parametrize("path", [str(p.relative_to(CONFIGS)) for p in sorted(CONFIGS.rglob("*.yaml"))])
def test_every_setting_has_a_comment(path: str):
    bare = []
    text = (CONFIGS / path).read_text().split("\npanels:  # ")[0]  # the comment there is that of all panels
    for line in text.splitlines():
        is_setting = ":" in line and not line.strip().startswith(("#", "-", "class_path:", "init_args:"))
        if (
            is_setting
            and "#" not in line
            and line.strip() not in ("data:", "model:", "trainer:", "warmup:", "relabel_goals:", "goal_map:")
        ):
            bare.append(line)
    assert not bare
