"""The program that checks the settings of a sweep's cells."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

LOUD = """
import os
import gymnasium
from goal_tasks import Slide

os.write(1, b"what a library prints from C\\n")
print("what Python prints")
gymnasium.register("Loud-v0", entry_point=Slide, max_episode_steps=12)
"""
REFUSED = {  # settings, most of which have no end or leave no curve
    "data.batch_size=0": "data.batch_size is 0; allowed: an integer of at least 1",
    "trainer.limit_val_batches=0": "trainer.limit_val_batches is 0; allowed: more than 0 where runs are compared",
    "trainer.check_val_every_n_epoch=99": "trainer.check_val_every_n_epoch is 99; allowed: at most max_epochs, 30",
    "trainer.limit_train_batches=0": "trainer.limit_train_batches is 0; allowed: more than 0 where runs are compared",
    "trainer.max_epochs=-1": "trainer.max_epochs is -1; allowed: more than 0, or max_steps or max_time, where runs are "
    "compared",
    "trainer.max_epochs=0": "trainer.max_epochs is 0; allowed: more than 0, or max_steps or max_time, where runs are "
    "compared",
    "trainer.strategy=seed_parallel": "trainer.strategy is 'seed_parallel' in a sweep or mher_pl.load; allowed: in fit",
    "trainer.fast_dev_run=true": "trainer.fast_dev_run is True; allowed: false where runs are compared",
}


def test_each_fit_is_answered_by_a_line_whatever_its_environment_prints(tmp_path: Path):
    (tmp_path / "loud.py").write_text(LOUD)
    fits = [["--data.env=loud:Loud-v0", "--data.env_kwargs={}"], [], *([f"--{setting}"] for setting in REFUSED)]
    lines = [json.dumps(["--config", str(ROOT / "configs" / "point2d.yaml"), *fit]) for fit in fits]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", tmp_path)))
    checked = subprocess.run(
        [sys.executable, "-m", "mher_pl.run.check"],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert checked.stdout.splitlines() == ["", "", *REFUSED.values()]
    assert "what a library prints from C" in checked.stderr
