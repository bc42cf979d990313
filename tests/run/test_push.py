"""`push-to-hub` and `load_policy("hf://...")`, against a stand-in for the hub's HTTP interface."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hub_server import serve
from huggingface_hub import constants
from trained_runs import fit, run_folder

import mher_pl
from mher_pl.__main__ import main
from mher_pl.errors import UserError
from mher_pl.evaluate import wilson_interval
from mher_pl.policy import SHIPPED


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run")
    assert fit(root, epochs=1) == 0
    return run_folder(root)


def use(address: str, monkeypatch) -> None:
    """Let the client ask another hub, as the variable HF_ENDPOINT does before it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[dict[str, dict[str, bytes]]]:
    with serve() as (address, repositories):
        use(address, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_a_token")
        yield repositories


def test_a_policy_that_was_pushed_is_loaded_as_it_was(run, hub, capsys):
    assert main(["push-to-hub", str(run), "me/reach", "--episodes", "5"]) == 0
    assert capsys.readouterr().out.endswith("/me/reach\n")
    assert set(hub["me/reach"]) == {"policy.safetensors", "README.md", "config.yaml"}
    here, there = mher_pl.load_policy(run), mher_pl.load_policy("hf://me/reach")
    observations = np.random.default_rng(0).normal(size=(2, 7, 2))
    assert np.array_equal(here(*observations), there(*observations))
    assert (there.env, there.env_kwargs) == ("mher_pl/Point2DLarge-v1", {"boundary_dist": 5.0})
    hub["me/reach@v1"] = {"policy.safetensors": (SHIPPED / "point2d" / "mher.safetensors").read_bytes()}
    of_package = mher_pl.load_policy("point2d")(*observations)
    assert np.array_equal(mher_pl.load_policy("hf://me/reach@v1")(*observations), of_package)
    hub["me/reach"]["other.safetensors"] = hub["me/reach"].pop("policy.safetensors")
    assert np.array_equal(here(*observations), mher_pl.load_policy("hf://me/reach/other.safetensors")(*observations))


def test_the_card_says_task_success_and_command(run, hub):
    assert main(["push-to-hub", str(run / "best"), "me/reach", "--episodes", "5"]) == 0
    _, header, text = hub["me/reach"]["README.md"].decode().split("---\n", 2)
    (model,) = yaml.safe_load(header)["model-index"]
    (result,) = model["results"]
    rate = mher_pl.load_policy(run / "best").evaluate(5).success.mean()
    assert (model["name"], result["dataset"]["name"]) == ("mher", "mher_pl/Point2DLarge-v1")
    assert result["metrics"][0]["value"] == rate
    assert "In 5 new episodes of `mher_pl/Point2DLarge-v1` with {'boundary_dist': 5.0}" in text
    low, high = wilson_interval(round(5 * rate), 5)
    assert f"in {rate:.3f} of them (95 % interval {low:.3f} to {high:.3f})" in " ".join(text.split())
    assert 'load_policy("hf://me/reach")' in text
    assert "python -m mher_pl fit --config config.yaml" in text
    published, own = (
        yaml.safe_load(text) for text in (hub["me/reach"]["config.yaml"], (run / "config.yaml").read_text())
    )
    assert own["trainer"]["default_root_dir"] != "runs"
    assert published == own | {"trainer": own["trainer"] | {"default_root_dir": "runs", "logger": None}}


@pytest.mark.parametrize("options", [[], ["--private"]])
def test_a_new_repository_is_private_where_that_is_asked_for(run, hub, options):
    assert main(["push-to-hub", str(run), "me/reach", "--episodes", "1", *options]) == 0
    assert ("me/reach@private" in hub) == bool(options)


def test_a_policy_in_no_runs_folder_has_a_card_without_a_command(run, hub, tmp_path):
    file = tmp_path / "a.safetensors"
    assert main(["export", str(run), "--out", str(file)]) == 0
    assert main(["push-to-hub", str(file), "me/reach", "--episodes", "5"]) == 0
    assert set(hub["me/reach"]) == {"policy.safetensors", "README.md"}
    assert "fit" not in hub["me/reach"]["README.md"].decode()


def test_a_config_that_is_no_runs_own_is_not_published(run, hub, tmp_path):
    file = tmp_path / "out" / "a.safetensors"
    assert main(["export", str(run), "--out", str(file)]) == 0
    (tmp_path / "config.yaml").write_text("password: of somebody\n")
    assert main(["push-to-hub", str(file), "me/reach", "--episodes", "5"]) == 0
    assert "config.yaml" not in hub["me/reach"]


def test_what_is_not_on_the_hub_is_named_in_a_line(hub):
    hub["me/empty"] = {}
    for uri in ("hf://me", "hf://me/nothing", "hf://me/empty", "hf://me/empty/a.safetensors", "hf://me/empty@v2"):
        with pytest.raises(UserError, match=rf"path is '{uri}' \(.+\); allowed: hf://user/repo"):
            mher_pl.load_policy(uri)


def test_without_a_token_network_or_package_one_line_says_so(run, hub, monkeypatch, capsys):
    command = ["push-to-hub", str(run), "me/reach", "--episodes", "1"]
    capsys.readouterr()
    monkeypatch.setattr(mher_pl.policy.Policy, "evaluate", lambda *args: pytest.fail("it evaluated before"))

    def error() -> str:
        assert main(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    for repo in ("reach", "no//repo", "me/"):
        command[2] = repo
        assert error() == f"error: REPO is '{repo}'; allowed: user/repo"
    command[2] = "me/no--repo"
    assert error().startswith("error: REPO is 'me/no--repo' (")
    command[2] = "me/reach"
    monkeypatch.delenv("HF_TOKEN")
    assert "allowed: user/repo where you may write, after `hf auth login`" in error()
    use("http://127.0.0.1:9", monkeypatch)  # where nobody answers
    assert error().startswith("error: REPO is 'me/reach' (")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # or the client would try for half a minute
    with pytest.raises(UserError, match=r"path is 'hf://me/reach' \(the hub cannot be reached"):
        mher_pl.load_policy("hf://me/reach")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert error().endswith("needs huggingface_hub; allowed: after pip install 'mher_pl[hub]'")
