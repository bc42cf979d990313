import pytest
import torch
from lightning import Callback

from mher_pl.callbacks import ModelWarmup
from mher_pl.errors import UserError


class Probe(Callback):
    """Look at the run before the warm-up and right after it."""

    def on_fit_start(self, trainer, pl_module):
        self.before = {key: value.clone() for key, value in pl_module.state_dict().items()}

    def on_train_epoch_start(self, trainer, pl_module):
        self.after = {key: value.clone() for key, value in pl_module.state_dict().items()}
        self.episodes = trainer.datamodule.replay.episodes.clone()
        self.env_steps = trainer.datamodule.env_steps
        batch = trainer.datamodule.replay.transitions(*torch.randint(2, (2, 500)), torch.Generator())
        change = batch["next", "observation"] - batch["observation"]
        error = pl_module.dynamics.predict(batch["observation"], batch["action"]) - batch["next", "observation"]
        self.relative_error = error.detach().abs().mean() / change.abs().mean()


def warm_up(cli) -> Probe:
    probe = Probe()
    cli.trainer.callbacks.append(probe)
    cli.trainer.fit(cli.model, cli.datamodule)
    return probe


def test_random_episodes_stay_in_the_replay_and_count_as_environment_steps(build):
    still = {"data.exploration.random_action_probability": 0.0, "data.exploration.noise": 0.0}
    cli = build("point2d", **{"warmup.episodes": 4} | still)
    probe = warm_up(cli)
    assert len(probe.episodes) == 4
    assert probe.env_steps == 400
    deviation = probe.episodes["action"].std().item()
    assert deviation == pytest.approx((1 / 3) ** 0.5, abs=0.03), "uniform in [-1, 1], whatever the actor says"


def test_the_dynamics_model_learns_and_nothing_else(build):
    probe = warm_up(build("point2d", **{"warmup.updates": 100, "warmup.batch_size": 512}))
    assert probe.relative_error < 0.25
    networks = [key for key in probe.before if key.startswith(("actor", "critic"))]
    assert len(networks) == 4 * 8
    assert all(torch.equal(probe.before[key], probe.after[key]) for key in networks)


@pytest.mark.parametrize("setting", ["episodes", "updates", "batch_size"])
def test_impossible_numbers_are_refused(setting: str):
    with pytest.raises(UserError, match=f"warmup.{setting} is -1; allowed: an integer of at least"):
        ModelWarmup(**{"episodes": 1, "updates": 1, "batch_size": 1} | {setting: -1})
