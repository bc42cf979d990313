"""Machines that fail under a run: one line that says so, the last checkpoint whole, and a resume that loses nothing."""

import errno
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.error import HTTPError

import pytest
import torch
from lightning import Callback
from trained_runs import arguments, fit, run_folder, run_process, scalars, state

from mher_pl.__main__ import main
from mher_pl.run import failures
from mher_pl.signals import end_signals

AS_ROOT = [] if os.getuid() == 0 else ["sudo", "-n"]
DISK_KB = 15000  # for one checkpoint of the small run, the one that is written beside it, and what is logged


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, which a test fills."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(path)]
    if subprocess.run(AS_ROOT + mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield path
    while os.path.ismount(path):
        subprocess.run([*AS_ROOT, "umount", "--lazy", str(path)], check=True)


def leave(disk: Path, kilobytes: int) -> None:
    """Fill a disk but for some room."""
    with (disk / "filling").open("wb") as file:
        file.write(bytes(max(shutil.disk_usage(disk).free - 1024 * kilobytes, 0)))


class FillDisk(Callback):
    """Leaves no room from a given epoch on."""

    def __init__(self, disk: str, epoch: int) -> None:
        self.disk, self.epoch = Path(disk), epoch

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == self.epoch:
            leave(self.disk, 0)


class Failing(Callback):
    """Does something to the machine at the start of the second epoch."""

    def __init__(self, what: str) -> None:
        self.what = what

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch != 1:
            return
        folder = Path(trainer.default_root_dir)
        if self.what == "removed":
            folder.rename(folder.with_name("elsewhere"))  # at once, whatever is just being written there
        elif self.what == "hangup":
            os.kill(os.getpid(), signal.SIGHUP)
        elif self.what == "read-only":
            while not (folder / "checkpoints" / "last.ckpt").exists():  # a thread writes it beside the next epoch
                time.sleep(0.01)
            disk = str(folder.parents[3])
            # Mounted on itself anew: the mount through which the run has files open cannot become read-only.
            subprocess.run([*AS_ROOT, "mount", "--bind", disk, disk], check=True)
            subprocess.run([*AS_ROOT, "mount", "-o", "remount,bind,ro", disk], check=True)
        elif self.what == "memory":
            torch.empty(2**50)
        elif self.what == "network":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def failing(what: str) -> list[str]:
    return ["--trainer.callbacks=tests.run.test_faults.Failing", f"--trainer.callbacks.what={what}"]


def one_line(capsys) -> str:
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1, errors
    assert len(errors) <= 301
    return errors


@pytest.mark.parametrize("kilobytes", [0, 4, 8, 16, 40])
def test_a_disk_full_before_the_first_checkpoint_is_one_line_and_the_run_begins_again(disk, capsys, kilobytes):
    leave(disk, kilobytes)
    assert fit(disk / "runs", epochs=1) == 1
    assert "No space left on device" in one_line(capsys)
    (disk / "filling").unlink()
    assert fit(disk / "runs", "--ckpt_path=last", epochs=1) == 0
    assert state(run_folder(disk / "runs"))["/epoch"] == 0


def test_a_disk_that_fills_up_costs_nothing_once_there_is_room(disk, tmp_path, capsys):
    fill = ["--trainer.callbacks=tests.run.test_faults.FillDisk", f"--trainer.callbacks.disk={disk}"]
    assert fit(disk / "runs", *fill, "--trainer.callbacks.epoch=1", epochs=3) == 1
    assert "No space left on device" in one_line(capsys)
    assert state(run_folder(disk / "runs"))["/epoch"] == 0
    (disk / "filling").unlink()
    assert fit(disk / "runs", "--ckpt_path=last", epochs=3) == 0
    assert fit(tmp_path / "runs", epochs=3) == 0
    resumed, whole = (state(run_folder(root / "runs")) for root in (disk, tmp_path))
    assert all(torch.equal(resumed[key], whole[key]) for key in whole if isinstance(whole[key], torch.Tensor))


def test_a_disk_that_becomes_read_only_is_one_line(disk, capsys):
    assert fit(disk / "runs", *failing("read-only"), epochs=3) == 1
    assert "Read-only file system" in one_line(capsys)
    assert state(run_folder(disk / "runs"))["/epoch"] == 0


def test_a_run_folder_that_is_removed_is_one_line(tmp_path, capsys):
    assert fit(tmp_path, *failing("removed"), epochs=3) == 1
    assert "No such file or directory" in one_line(capsys)


def test_memory_that_runs_out_is_one_line_and_the_run_goes_on_from_its_last_checkpoint(tmp_path, capsys):
    assert fit(tmp_path, *failing("memory"), epochs=2) == 1
    error = one_line(capsys)
    assert error.startswith("error: out of memory, ")
    assert "--ckpt_path last goes on from the last checkpoint" in error
    assert fit(tmp_path, "--ckpt_path=last", epochs=2) == 0
    assert state(run_folder(tmp_path))["/epoch"] == 1


def test_a_network_that_fails_is_no_disk_and_keeps_its_traceback(tmp_path):
    with pytest.raises(ConnectionRefusedError):
        fit(tmp_path, *failing("network"), epochs=2)


@pytest.mark.parametrize(
    ("error", "of_disk"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "runs/x"), True),
        (TimeoutError("timed out"), False),
        (HTTPError("http://here", 500, "Internal Server Error", None, None), False),  # its `filename` is the address
    ],
)
def test_an_error_of_the_system_is_of_a_disk_or_of_something_else(error, of_disk, capsys):
    assert (failures.of_machine(error, None) is not None) == of_disk
    failures.of_thread(threading.ExceptHookArgs((type(error), error, None, None)))
    assert ("Exception in thread" in capsys.readouterr().err) != of_disk, "the caller is told of a disk"


def test_a_terminal_that_closes_ends_the_run_saved(tmp_path, capsys):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where these tests run under nohup
    assert fit(tmp_path, *failing("hangup"), epochs=3) == 128 + signal.SIGHUP
    assert "interrupted by SIGHUP after 400 env steps; saved in " in one_line(capsys)


def test_under_nohup_a_terminal_that_closes_ends_nothing():
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signal.SIGHUP not in end_signals()
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_a_seed_killed_before_it_had_a_folder_begins_with_last(tmp_path):
    assert fit(tmp_path, epochs=1) == 0
    assert fit(tmp_path, "--seed_everything=1", "--ckpt_path=last", epochs=1) == 0
    assert state(run_folder(tmp_path, seed=1))["/epoch"] == 0


@pytest.mark.slow
def test_a_seed_that_was_not_there_yet_begins_beside_one_that_is_complete(tmp_path):
    assert fit(tmp_path, "--seed_everything=1", epochs=2) == 0
    side_by_side = ["--trainer.strategy=seed_parallel", "--trainer.devices=2", "--ckpt_path=last"]
    out, _ = run_process(tmp_path, *side_by_side, epochs=2)
    assert [state(run_folder(tmp_path, seed=seed))["/epoch"] for seed in (0, 1)] == [1, 1]
    assert "failed" not in out
    counts = [value for (tag, _), value in scalars(run_folder(tmp_path)).items() if tag == "seeds/count"]
    assert counts == [1.0, 1.0], "the other was alone in its epochs"


def test_a_signal_before_training_leaves_no_traceback(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mher_pl.run.cli.MherCLI", lambda args: os.kill(os.getpid(), signal.SIGTERM))
    assert main(arguments(tmp_path)) == 143
    assert one_line(capsys) == "interrupted by SIGTERM\n"
    assert not list(tmp_path.iterdir())
