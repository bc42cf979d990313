"""The package as it is installed, in a folder of its own, and as it lies in a clone."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mher_pl
from tests.conftest import ROOT, SMALL

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "tests", "benchmarks")
FIT_AND_LOAD = """
import sys
import mher_pl, mher_pl.callbacks, mher_pl.storage.configs
from mher_pl.__main__ import main
assert main(["fit", "--config", "point2d", "--config", "her", *sys.argv[1:]]) == 0
parts = mher_pl.load("point2d", "her")
assert parts.model.dynamics is None
print(mher_pl.__file__, mher_pl.callbacks.__file__, mher_pl.storage.configs.SHIPPED, sep="\\n")
"""
OWN = "raise ImportError('this is the user\\'s own')\n"


def clone(folder: Path) -> Path:
    """Copy what a clone has of the package, links as links."""
    return Path(shutil.copytree(ROOT, folder, symlinks=True, ignore=LEFT_OUT))


def fit_and_load(cwd: Path, package: Path) -> None:
    """Train HER by the configs' names and load it, in `cwd`, where modules are looked for first, then in `package`."""
    small = [f"--{key}={value}" for key, value in SMALL.items() if key != "trainer.enable_progress_bar"]
    environment = {"PYTHONPATH": str(package), "PATH": ""}  # none of this machine's
    command = [sys.executable, "-c", FIT_AND_LOAD, *small]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    *_, end, module, callbacks, configs = done.stdout.splitlines()
    assert end.startswith("epoch 1, success rate ")
    assert end.endswith("run folder runs/Point2DLarge-v1/her/seed_0")
    assert (cwd / "runs/Point2DLarge-v1/her/seed_0/checkpoints/last.ckpt").is_file()
    for path in (module, callbacks, configs):
        assert Path(path).is_relative_to(package), f"{path} is not the package under test"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel that is built from a clone."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", str(folder)]
    source = clone(folder / "clone")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_has_every_module_config_and_asset_and_no_top_level_name_but_mher_pl(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"mher_pl", f"mher_pl-{mher_pl.__version__}.dist-info"}
    source = ROOT / "mher_pl"
    files = [Path(folder, name) for folder, _, files in os.walk(source, followlinks=True) for name in files]
    expected = {file.relative_to(ROOT).as_posix() for file in files if "__pycache__" not in file.parts}
    assert {name for name in names if name.startswith("mher_pl/")} == expected
    for name in ("callbacks/video.py", "configs/algorithms/her.yaml", "envs/assets/sawyer/reach/hand.xml"):
        assert f"mher_pl/{name}" in expected


def test_the_installed_wheel_trains_and_loads_beside_what_the_user_has_of_the_same_names(wheel, tmp_path):
    target, folder = tmp_path / "target", tmp_path / "own"
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    for name in ("callbacks", "configs", "data", "envs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(OWN)
        (folder / f"{name}.py").write_text(OWN)
    fit_and_load(folder, target)


def test_a_clone_trains_and_loads_without_installation_beside_callbacks_of_the_users_own(tmp_path):
    folder = clone(tmp_path / "clone")
    (folder / "callbacks.py").write_text(OWN)
    fit_and_load(folder, folder)


def test_the_suite_runs_the_clone_itself():
    for name in ("mher_pl", "mher_pl.callbacks", "mher_pl.callbacks.video"):
        module = importlib.import_module(name)
        assert Path(module.__file__).is_relative_to(ROOT / "mher_pl")
    assert mher_pl.callbacks.Video.__module__ == "mher_pl.callbacks.video"
    assert (ROOT / "mher_pl/callbacks").samefile(ROOT / "callbacks")
    assert (ROOT / "mher_pl/configs").samefile(ROOT / "configs")


def test_the_version_is_that_of_the_installed_package():
    assert importlib.metadata.version("mher_pl") == mher_pl.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", mher_pl.__version__)
    assert f"\nversion: {mher_pl.__version__}\n" in (ROOT / "CITATION.cff").read_text()
