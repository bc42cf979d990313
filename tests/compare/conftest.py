import pytest
from fake_sweeps import FAKE_CHECK, FAKE_FIT, write

from mher_pl.compare import grid


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A working folder with two tasks, two algorithms, and a stand-in for `fit`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(grid, "FIT", FAKE_FIT)
    monkeypatch.setattr(grid, "CHECK", FAKE_CHECK)
    write("configs/one.yaml", env="mher_pl/One-v1")
    write("configs/two.yaml", env="mher_pl/Two-v1")
    write("configs/algorithms/mher.yaml", algorithm="mher")
    write("configs/algorithms/her.yaml", algorithm="her")
    return tmp_path
