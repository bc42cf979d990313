import errno
import multiprocessing
import os
import pickle
import random
import re
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback
from trained_runs import assert_same_run, fit, run_folder

from mher_pl import __version__
from mher_pl.__main__ import main
from mher_pl.errors import NonFiniteError, UserError
from mher_pl.storage.checkpoint import VERSION, link_file, read_checkpoint, save_sealed, write_checkpoint
from mher_pl.storage.writer import PlainCheckpointIO


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("run")
    assert fit(root, epochs=1) == 0
    return run_folder(root)


@pytest.fixture
def last(run) -> Path:
    return run / "checkpoints" / "last.ckpt"


def refuses(capsys, tmp_path: Path, checkpoint: Path, *extra: str, command: str = "fit", **kwargs) -> str:
    """Assert that the program ends with one line and code 1, and return the line."""
    from trained_runs import arguments

    _, *rest = arguments(tmp_path / "runs", f"--ckpt_path={checkpoint}", *extra, **kwargs)
    capsys.readouterr()
    assert main([command, *rest]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_a_malicious_pickle_inside_a_checkpoint_is_refused_and_not_executed(tmp_path, last, capsys, command):
    harm = tmp_path / "harm"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["callbacks"]["x"] = Malicious(harm)
    save_sealed(checkpoint, tmp_path / "bad.ckpt")
    message = refuses(capsys, tmp_path, tmp_path / "bad.ckpt", command=command)
    assert "refers to posix.system and was not loaded" in message
    assert not harm.exists()
    torch.load(tmp_path / "bad.ckpt", weights_only=False)  # it would have worked
    assert harm.exists()


def test_a_bare_malicious_pickle_is_refused_and_not_executed(tmp_path, capsys):
    (tmp_path / "bad.ckpt").write_bytes(pickle.dumps(Malicious(tmp_path / "harm")))
    refuses(capsys, tmp_path, tmp_path / "bad.ckpt")
    assert not (tmp_path / "harm").exists()


def test_lightning_cannot_be_talked_into_loading_code(tmp_path, last):
    save_sealed({"x": Malicious(tmp_path / "harm")}, tmp_path / "bad.ckpt")
    with pytest.raises(UserError, match=r"refers to posix\.system and was not loaded"):
        PlainCheckpointIO().load_checkpoint(tmp_path / "bad.ckpt", weights_only=False)
    assert not (tmp_path / "harm").exists()


def test_a_missing_checkpoint_is_named(tmp_path, capsys):
    assert "nowhere.ckpt', which does not exist" in refuses(capsys, tmp_path, tmp_path / "nowhere.ckpt")
    assert not (tmp_path / "runs" / "Point2DLarge-v1").exists()


def test_one_that_may_not_be_read_is_named(last, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("mher_pl.storage.checkpoint.FileIO", refuse)
    with pytest.raises(UserError, match=r"ckpt_path is '.*' \(Permission denied\); allowed: a file that can be read"):
        read_checkpoint(last)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_a_checkpoint_cut_short_is_refused(tmp_path, last, capsys, keep):
    content = last.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: int(keep * len(content))])
    assert "which is damaged or no checkpoint" in refuses(capsys, tmp_path, tmp_path / "cut.ckpt")


@pytest.mark.parametrize("flips", [1, 64])
def test_flipped_bytes_are_noticed_wherever_they_are(tmp_path, last, flips):
    content, rng = last.read_bytes(), random.Random(0)
    ends = [*range(100), *range(len(content) - 100, len(content))] if flips == 1 else []
    for places in [[place] for place in ends] + [rng.sample(range(len(content)), flips) for _ in range(200)]:
        damaged = bytearray(content)
        for place in places:
            damaged[place] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.ckpt").write_bytes(damaged)
        with pytest.raises(UserError, match="which is damaged or"):
            read_checkpoint(tmp_path / "bad.ckpt")


def test_a_field_that_was_edited_is_noticed(tmp_path, last, capsys):
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["GoalDataModule"]["env_steps"] = "many"
    torch.save(checkpoint, tmp_path / "edited.ckpt")
    assert "which is damaged or no checkpoint" in refuses(capsys, tmp_path, tmp_path / "edited.ckpt")


def test_a_checkpoint_of_another_version_is_refused_naming_both(tmp_path, last, capsys):
    save_sealed(torch.load(last, weights_only=True) | {VERSION: "0.0.1"}, tmp_path / "old.ckpt")
    message = refuses(capsys, tmp_path, tmp_path / "old.ckpt")
    assert f"which mher_pl 0.0.1 wrote; allowed: one of this version, {__version__}" in message


@pytest.mark.parametrize("content", [{"state_dict": {}, "pytorch-lightning_version": "2.6.6"}, [1, 2], {"a": 1}])
def test_a_checkpoint_of_another_program_is_refused(tmp_path, capsys, content):
    torch.save(content, tmp_path / "foreign.ckpt")
    assert "no checkpoint of mher_pl" in refuses(capsys, tmp_path, tmp_path / "foreign.ckpt")


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_of_another_task_is_refused_naming_both(tmp_path, last, capsys, command):
    message = refuses(capsys, tmp_path, last, config="reacher", command=command)
    assert "mher_pl/Point2DLarge-v1" in message
    assert "mher_pl/Reacher-v1" in message


def test_a_checkpoint_of_other_layers_is_refused_naming_both(tmp_path, last, capsys):
    message = refuses(capsys, tmp_path, last, "--model.init_args.hidden_sizes=[8,8]")
    assert "actor.network.layers.0.bias has shape [16]; allowed: [8], that is, the same model section" in message


def test_a_checkpoint_of_another_model_is_refused_naming_the_parameter(tmp_path, last, capsys):
    message = refuses(capsys, tmp_path, last, "--model.init_args.dynamics.init_args.members=2")
    assert "dynamics.networks.layers.0.bias has shape [1, 1, 16]; allowed: [2, 1, 16]" in message


def test_a_checkpoint_of_another_replay_is_refused(tmp_path, last, capsys):
    message = refuses(capsys, tmp_path, last, "--data.capacity=5000")
    assert "data.capacity is 5000; allowed: 1000000, as in the checkpoint" in message


def test_the_hyperparameters_in_a_checkpoint_change_nothing(tmp_path, last):
    checkpoint = torch.load(last, weights_only=True)
    other = {"discount": 0.5, "_class_path": "os.system", "_instantiator": "os.system"}
    for root, content in (("with", checkpoint | {"hyper_parameters": other}), ("without", checkpoint)):
        write_checkpoint(content, tmp_path / f"{root}.ckpt")
        assert fit(tmp_path / root, f"--ckpt_path={tmp_path / root}.ckpt", epochs=3) == 0
    assert_same_run(*(run_folder(tmp_path / root) for root in ("with", "without")))


# Writing


@pytest.fixture
def full_disk(monkeypatch) -> None:
    def fail(checkpoint, file) -> None:
        file.write(b"half")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")  # noqa: B904

    monkeypatch.setattr(torch, "save", fail)


def test_a_save_that_fails_keeps_the_old_checkpoint_and_leaves_nothing_behind(tmp_path, request):
    path = tmp_path / "last.ckpt"
    write_checkpoint({"x": 1}, path)
    old = path.read_bytes()
    request.getfixturevalue("full_disk")
    with pytest.raises(UserError, match="could not be written"):
        PlainCheckpointIO().save_checkpoint({"x": 2}, path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_save_beside_training_that_fails_is_told_and_nothing_is_removed_after_it(tmp_path, request):
    best, files = tmp_path / "best.ckpt", PlainCheckpointIO()
    files.save_checkpoint({"x": 1}, best)
    request.getfixturevalue("full_disk")
    with files.beside_training():
        files.save_checkpoint({"x": 2}, tmp_path / "last.ckpt")
        files.do(link_file, tmp_path / "last.ckpt", tmp_path / "better.ckpt")
        files.remove_checkpoint(best)
    with pytest.raises(UserError, match=r"last\.ckpt could not be written"), files.beside_training():
        pass
    assert os.listdir(tmp_path) == ["best.ckpt"]
    files.teardown()


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_full_disk_ends_a_run_with_one_line(tmp_path, full_disk, capsys, epochs):
    assert fit(tmp_path, epochs=epochs) == 1
    errors = capsys.readouterr().err
    reason = r"could not be written \(No space left on device\)"
    allowed = "allowed: a folder that can be written, with room for one checkpoint more"
    assert re.fullmatch(f"error: the checkpoint .* {reason}.*; {allowed}\n", errors)
    assert errors.count("\n") == 1


class Remembers(Callback):
    """A callback of the user's with a state."""

    def __init__(self, value: object) -> None:
        self.value = value

    def state_dict(self) -> dict:
        return {"best": [1.0, self.value]}


@pytest.mark.parametrize("value", [np.float64(0.5), np.zeros(2), Path("x"), lambda: 0])
def test_a_state_that_could_not_be_read_back_is_not_written_and_named(tmp_path, build, value):
    model, data, trainer = build("point2d", **{"trainer.max_epochs": 3})
    trainer.callbacks.append(Remembers(value))
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    with pytest.raises(UserError, match=f"back: callbacks.Remembers.best.1 is a {name}; allowed: tensors and plain"):
        trainer.fit(model, data)
    assert not list(tmp_path.rglob("*.ckpt*"))


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, trained):
    with torch.no_grad():
        trained.model.actor.network.layers[0].bias[0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"actor.network.layers.0.bias holds NaN or infinity after 300"):
        trained.trainer.save_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "x.ckpt").exists()


def test_what_is_saved_beside_training_is_the_state_at_the_call_and_in_order(tmp_path):
    last, best, files = tmp_path / "last.ckpt", tmp_path / "best.ckpt", PlainCheckpointIO()
    go_on, state = threading.Event(), {"nested": [{"x": torch.zeros(3)}]}
    with files.beside_training():
        files.do(go_on.wait)
        files.save_checkpoint(state, last)
        files.do(link_file, last, best)
    state["nested"][0]["x"] += 1.0
    assert os.listdir(tmp_path) == []
    go_on.set()
    files.wait()
    assert best.samefile(last)
    assert torch.equal(torch.load(last)["nested"][0]["x"], torch.zeros(3))
    files.save_checkpoint(state, last)  # outside of training it is written at once
    assert torch.equal(torch.load(last)["nested"][0]["x"], torch.ones(3))
    files.teardown()


def test_the_seal_is_a_comment_of_the_zip_file_that_torch_writes(last):
    with zipfile.ZipFile(last) as file:
        assert file.comment.startswith(b"mher_pl crc32 ")
        assert file.testzip() is None
    content, comment = last.read_bytes(), file.comment
    assert content.endswith(len(comment).to_bytes(2, "little") + comment)


def test_the_file_is_staged_on_the_file_system_where_it_will_lie(tmp_path, monkeypatch):
    written, save = [], torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: (written.append(Path(file.name)), save(content, file)))
    write_checkpoint({"x": 1}, tmp_path / "a" / "last.ckpt")
    assert [path.parent for path in written] == [tmp_path / "a"]


def test_what_a_kill_left_behind_is_overwritten(tmp_path):
    (tmp_path / ".last.ckpt.part").write_bytes(b"half")
    write_checkpoint({"x": 1}, tmp_path / "last.ckpt")
    assert os.listdir(tmp_path) == ["last.ckpt"]


def save_for_ever(path: Path) -> None:
    number = 0
    while True:
        number += 1
        content = {"agent": number, "state_dict": torch.full((500_000,), number), "loops": 0}
        write_checkpoint(content, path)


def test_kills_in_the_middle_of_saving_never_lose_the_previous_checkpoint(tmp_path):
    path, rng = tmp_path / "last.ckpt", random.Random(0)
    staged = path.with_name(".last.ckpt.part")
    within = 0
    for _ in range(20):
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(path,))
        process.start()
        time.sleep(rng.uniform(0.1, 0.2))
        while not (path.exists() and staged.exists()):
            assert process.is_alive()
        process.kill()
        process.join()
        within += staged.exists()
        checkpoint = read_checkpoint(path)
        assert (checkpoint["state_dict"] == checkpoint["agent"]).all()
    assert within >= 5


def test_linking_replaces_a_file_and_a_link_to_the_same_file(tmp_path):
    last, best = tmp_path / "last.ckpt", tmp_path / "best.ckpt"
    last.write_text("new")
    best.write_text("old")
    for _ in range(2):
        link_file(last, best)
        assert best.read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["best.ckpt", "last.ckpt"]


def test_where_there_are_no_hard_links_the_file_is_copied(tmp_path, monkeypatch):
    def fail(*args) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", fail)
    (tmp_path / "last.ckpt").write_text("new")
    link_file(tmp_path / "last.ckpt", tmp_path / "best.ckpt")
    assert (tmp_path / "best.ckpt").read_text() == "new"


def test_the_size_of_a_checkpoint_follows_the_filled_part_of_the_replay(tmp_path, run):
    assert fit(tmp_path, "--data.capacity=10000", epochs=1) == 0
    sizes = [(folder / "checkpoints" / "last.ckpt").stat().st_size for folder in (run, run_folder(tmp_path))]
    assert abs(sizes[0] - sizes[1]) < 1000


@pytest.mark.slow
def test_a_tensor_larger_than_the_system_writes_in_one_call_is_whole(tmp_path):
    content = torch.ones(2**31 + 7, dtype=torch.uint8)
    write_checkpoint({"x": content}, tmp_path / "a.ckpt")
    assert torch.equal(read_checkpoint(tmp_path / "a.ckpt")["x"], content)
