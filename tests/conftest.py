"""What several tests build."""

import sys
from ctypes.util import find_library
from pathlib import Path

import pytest
import torch
from trained_runs import started

from mher_pl.run.api import Loaded, load
from mher_pl.run.messages import quiet

ROOT = Path(__file__).parent.parent
needs_gl = pytest.mark.skipif(
    sys.platform == "linux" and not any(map(find_library, ("EGL", "OSMesa", "GL"))), reason="no OpenGL library"
)
SMALL = {  # a run of a second or two, with every part at work
    "warmup.episodes": 2,
    "warmup.updates": 2,
    "warmup.batch_size": 8,
    "evaluation.episodes": 3,
    "trainer.max_epochs": 1,
    "trainer.enable_progress_bar": False,
}


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """One thread, as a run has it, and none of the notices that the command line silences too."""
    torch.set_num_threads(1)
    quiet()


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test():
    yield
    while started:
        started.pop().kill()


@pytest.fixture
def build(tmp_path: Path):
    """Return a function that builds module, data and trainer from config names, small and below `tmp_path`."""

    def build_small(*configs: str, **overrides: object) -> Loaded:
        quiet()  # pytest forgets it with each test
        paths = [ROOT / "configs" / f"{name}.yaml" for name in configs]
        return load(*paths, **SMALL | {"trainer.default_root_dir": tmp_path} | overrides)

    return build_small


@pytest.fixture
def trained(build):
    """Return module, data and trainer after a small fit of Point2D."""
    cli = build("point2d")
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli
