from pathlib import Path

import pytest

from mher_pl.errors import UserError
from mher_pl.storage.configs import SHIPPED, find_config, read_config


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()
    return Path(path)


def test_a_name_is_that_of_a_config_of_the_package():
    assert find_config("--config", "fetch", "", "algorithms") == SHIPPED / "fetch.yaml"
    assert find_config("--config", "her", "", "algorithms") == SHIPPED / "algorithms" / "her.yaml"
    assert find_config("SWEEP", "figure_02", "sweeps") == SHIPPED / "sweeps" / "figure_02.yaml"


def test_home_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    own = write(f"{tmp_path}/home/mine.yaml")
    assert find_config("--config", "~/mine.yaml", "") == own


def test_a_name_is_looked_for_in_the_given_folders_alone():
    with pytest.raises(UserError, match=r"SWEEP is 'fetch'; allowed: a YAML file, or one of the names .*figure_02"):
        find_config("SWEEP", "fetch", "sweeps")


def test_a_file_of_that_path_comes_first_then_the_working_folders_configs_then_those_beside_the_file():
    beside = write("elsewhere/configs/fetch.yaml")
    assert find_config("tasks", "fetch", "", beside=beside.parent) == beside
    own = write("configs/fetch.yaml")
    assert find_config("tasks", "fetch", "", beside=beside.parent) == own
    path = write("fetch")
    assert find_config("tasks", "fetch", "", beside=beside.parent) == path


def test_a_folder_of_that_name_is_no_config():
    Path("fetch").mkdir()
    assert find_config("--config", "fetch", "") == SHIPPED / "fetch.yaml"


def test_a_file_that_is_no_yaml_is_one_line():
    for content in (b"algorithm: h\xe9r", b"algorithm: 2024-99-99", b"algorithm: [", b"env: {{ task }}"):
        write("mine.yaml").write_bytes(content)
        with pytest.raises(UserError, match=r"--config is 'mine.yaml', no YAML.*; allowed: a YAML file of settings"):
            read_config("--config", "mine.yaml")


def test_a_key_that_stands_twice_is_refused_at_any_depth_and_merges_are_none():
    write("mine.yaml").write_text("a: 1\nb:\n  c: {d: 1}\n  e: 2\n  c: {f: 1}\n")
    with pytest.raises(UserError) as refused:
        read_config("--config", "mine.yaml")
    assert str(refused.value) == "--config is 'mine.yaml', in which a key stands twice, in lines 3 and 5; allowed: once"
    write("mine.yaml").write_text("overrides: {a: 1, a: 2}\n")
    with pytest.raises(UserError, match="in lines 1 and 1; allowed: once"):
        read_config("--config", "mine.yaml")
    write("mine.yaml").write_text("y: &y {c: 1}\nouter: {inner: &x {<<: *y, c: 2}}\nb: {<<: *x, 1: 1, '1': 2}\n")
    assert read_config("--config", "mine.yaml")["b"].keys() == {"c", 1, "1"}


def test_a_path_is_never_looked_for_among_the_configs():
    for path in ("algorithms/her", "./fetch", "fetch.yaml"):
        with pytest.raises(UserError, match=f"--config is '{path}'; allowed"):
            find_config("--config", path, "", "algorithms")


def test_an_unknown_name_is_one_line_with_all_names_there_are():
    write("configs/algorithms/mine.yaml")
    with pytest.raises(UserError, match=r"--config is 'fecth'; allowed: .*cher, .*fetch, .*mine, ") as error:
        find_config("--config", "fecth", "", "algorithms")
    assert "\n" not in str(error.value)
    assert "figure_02" not in str(error.value)


def test_a_config_with_a_date_that_does_not_exist_is_refused():
    write("mine.yaml").write_text("a: 2024-13-01")
    with pytest.raises(UserError, match=r"--config is 'mine.yaml', no YAML; allowed: a YAML file of settings"):
        read_config("--config", "mine.yaml")
