"""The `push-to-hub` command: a policy in a repository of the Hugging Face Hub, with a card that says what it does."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mher_pl.errors import OneLineParser, UserError, require, require_int
from mher_pl.evaluate import wilson_interval
from mher_pl.policy import Policy, load_policy, save_policy
from mher_pl.storage.configs import read_config
from mher_pl.storage.folder import LAST, checkpoint_file, config_of
from mher_pl.storage.hub import HUB, POLICY, make_repository, upload

CARD = """\
# {algorithm} on {env}

A goal-conditioned policy, trained with mher_pl. In {episodes} new episodes of `{env}`{arguments}, without exploration,
it ends at its goal in {rate:.3f} of them (95 % interval {low:.3f} to {high:.3f}).

```python
import mher_pl

policy = mher_pl.load_policy("{uri}")
env = mher_pl.make(policy.env, **policy.env_kwargs)
observation, _ = env.reset()
action = policy(observation)
```
"""
COMMAND = """\

It was trained by the following command, whose config is [the run's own](config.yaml), unless it began with the
checkpoint of another run, which a config does not name:

```bash
python -m mher_pl fit --config config.yaml
```
"""


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = OneLineParser("python -m mher_pl push-to-hub", description="Put a policy on the Hugging Face Hub.")
    parser.add_argument("run", metavar="RUN", help="a run's folder, RUN/best, a checkpoint or a policy's file")
    parser.add_argument("repo", metavar="REPO", help="user/repo, made where there is none")
    parser.add_argument("--episodes", type=int, default=100, help="episodes that the card tells of (100)")
    parser.add_argument("--private", action="store_true", help="for you alone, where the repository is a new one")
    options = parser.parse_args(argv)
    require_int("--episodes", options.episodes, 1)
    require(all(options.repo.split("/")) and options.repo.count("/") == 1, "REPO", options.repo, "user/repo")
    policy, config = load_policy(options.run), run_config(options.run)
    settings = {} if config is None else dict(read_config("RUN", config))
    address = make_repository(options.repo, options.private)  # what cannot be is told before the long evaluation
    card = model_card(policy, settings, options.repo, options.episodes)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / POLICY
        save_policy(policy, file)
        files: dict[str, Path | bytes] = {POLICY: file, "README.md": card.encode()}
        if config is not None:
            files["config.yaml"] = public(settings)
        upload(files, options.repo, f"Policy on {policy.env}")
    print(address)
    return 0


def public(settings: dict[str, Any]) -> bytes:
    """Return a run's config without its loggers, which may hold secrets, and the folder that it lies in."""
    trainer = settings["trainer"] | {"default_root_dir": "runs", "logger": None}
    return yaml.safe_dump(settings | {"trainer": trainer}, sort_keys=False).encode()


def run_config(run: str) -> Path | None:
    """Return the config of the run that a policy is of; None where it lies in no run's folder."""
    try:
        checkpoint = checkpoint_file(run)
        return config_of(checkpoint) if checkpoint.resolve().parent.name == LAST.parent.name else None
    except UserError:
        return None


def model_card(policy: Policy, settings: Mapping[str, Any], repo: str, episodes: int) -> str:
    """Return the page of the repository: how well the policy does, how to load it, and how it was trained."""
    successes = int(policy.evaluate(episodes).success.sum())
    low, high = wilson_interval(successes, episodes)
    algorithm = str(settings.get("algorithm", "A policy"))
    result = {
        "task": {"type": "reinforcement-learning"},
        "dataset": {"name": policy.env, "type": policy.env},
        "metrics": [{"type": "success_rate", "value": round(successes / episodes, 3)}],
    }
    header = {
        "library_name": "mher_pl",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["goal-conditioned", "hindsight-experience-replay", policy.env.rpartition("/")[2]],
        "model-index": [{"name": algorithm, "results": [result]}],
    }
    text = CARD.format(
        algorithm=algorithm,
        env=policy.env,
        arguments=f" with {policy.env_kwargs}" if policy.env_kwargs else "",
        episodes=episodes,
        rate=successes / episodes,
        low=low,
        high=high,
        uri=HUB + repo,
    )
    return f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n{text}{COMMAND if settings else ''}"
