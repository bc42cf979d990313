import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_sweeps import (
    FAKE_FIT,
    RUN_SWEEP,
    TESTS,
    attempts,
    behave,
    grid_file,
    log_says,
    start_sweep,
    wait_until,
    write,
)

from mher_pl.compare import grid, job, sweep
from mher_pl.compare.report import main as report
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import UserError


def test_every_cell_of_the_grid_is_run_and_can_be_reported(workspace, capsys):
    path = grid_file(tasks=["one", "two"], algorithms=["mher", "her"], seeds=[0, 3], jobs=4)
    assert sweep.main([path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 cells in out: 0 finished, 8 to run, 4 at once"
    assert sum(" start " in line for line in lines) == sum(" finished " in line for line in lines) == 8
    assert lines[-2].startswith("[8/8] finished")
    assert lines[-1] == "compare: python -m mher_pl report out --out DIR"
    assert report(["out", "--out", "tables"]) == 0
    rows = [line.split(",")[:3] for line in Path("tables/summary.csv").read_text().splitlines()[1:]]
    assert rows == [[task, name, "2"] for task in ("One-v1", "Two-v1") for name in ("mher", "her")]


def test_a_cell_is_a_plain_fit_and_dry_run_prints_it_and_runs_nothing(workspace, capsys):
    overrides = {"trainer.max_epochs": 3, "behave": "learn", "data.env_kwargs": {"size": 4.0}, "model.dynamics": None}
    overrides["name"] = date(2024, 2, 1)  # as YAML reads it where it has no quotes
    path = grid_file(tasks=["configs/one.yaml"], seeds=[5], jobs=2, overrides=overrides)
    assert sweep.main([path, "--dry-run"]) == 0
    assert capsys.readouterr().out == (
        f"OMP_NUM_THREADS=1 python {FAKE_FIT[1]} --config configs/one.yaml --config configs/algorithms/mher.yaml "
        "--seed_everything 5 --trainer.default_root_dir out/one/mher/seed_5 --trainer.max_epochs=3 --behave=learn "
        "'--data.env_kwargs={\"size\": 4.0}' --model.dynamics=null '--name=\"2024-02-01\"' --ckpt_path last\n"
    )
    assert not Path("out").exists()


def test_a_grid_has_a_cell_for_every_value_with_every_other(workspace, capsys):
    values = {"model.relabel.steps": [0, 3], "model.hidden_sizes": [[8], [16, -1]]}
    path = grid_file(grid=values, overrides={"behave": "learn"}, seeds=2)
    assert sweep.main([path, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 2 * 2
    assert lines[-1].endswith(
        "--seed_everything 1 --trainer.default_root_dir out/one/mher-steps-3-hidden_sizes-16_-1/seed_1 "
        "--algorithm=mher-steps-3-hidden_sizes-16_-1 --behave=learn --model.relabel.steps=3 "
        "'--model.hidden_sizes=[16, -1]' --ckpt_path last"
    )


def test_the_values_of_a_grid_are_methods_of_their_own_in_the_report(workspace):
    assert sweep.main([grid_file(grid={"trainer.max_epochs": [2, 3]})]) == 0
    assert report(["out", "--out", "tables"]) == 0
    rows = [line.split(",")[1] for line in Path("tables/summary.csv").read_text().splitlines()[1:]]
    assert rows == ["mher-max_epochs-2", "mher-max_epochs-3"]


def test_a_cell_whose_settings_are_wrong_is_named_before_any_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(TESTS.parent)
    content = {"tasks": ["point2d"], "algorithms": ["mher"], "seeds": 2, "out": str(tmp_path / "out")}
    path = write(tmp_path / "sweep.yaml", **content, grid={"model.discount": [0.5, 1, 2]})
    with pytest.raises(UserError) as error:
        sweep.main([str(path)])
    assert str(error.value) == (
        "point2d/mher-discount-1/seed_0 cannot run: model.discount is 1.0; allowed: a number from 0 to below 1 "
        "(and 1 more of 3 settings)"
    )
    assert not list((tmp_path / "out").rglob("*"))


def test_the_command_of_a_cell_is_the_fit_of_this_package():
    assert [sys.executable, "-m", "mher_pl", "fit"] == grid.FIT


def test_finished_cells_are_skipped(workspace, capsys):
    path = grid_file(seeds=2)
    sweep.main([path])
    path = grid_file(seeds=3)
    capsys.readouterr()
    assert sweep.main([path, "--dry-run"]) == 0
    dry = capsys.readouterr().out.splitlines()
    assert dry[:2] == ["# one/mher/seed_0 is finished", "# one/mher/seed_1 is finished"]
    assert "--seed_everything 2" in dry[2]
    assert sweep.main([path]) == 0
    assert capsys.readouterr().out.startswith("3 cells in out: 2 finished, 1 to run, 1 at once\n[2/3] start")
    assert sweep.main([path]) == 0
    assert [len(attempts(f"one/mher/seed_{seed}")) for seed in range(3)] == [1, 1, 1]


def test_a_failed_cell_is_listed_with_the_last_line_of_its_log_and_stops_no_other(workspace, capsys):
    behave(seed_1="fail")
    path = grid_file(seeds=3)
    assert sweep.main([path]) == 1
    out, error = capsys.readouterr()
    assert "[2/3] failed    one/mher/seed_1  exit code 1: error: it went wrong\n" in out
    assert error == "failed: one/mher/seed_1  exit code 1: error: it went wrong  (log: out/one/mher/seed_1/fit.log)\n"
    behave()
    assert sweep.main([path]) == 0
    assert len(attempts("one/mher/seed_1")) == 2


def test_a_fit_that_ends_well_without_a_whole_run_has_failed(workspace, capsys):
    assert sweep.main([grid_file(overrides={"behave": "vanish"})]) == 1
    assert "its run has no eval/success_rate in a metrics.csv" in capsys.readouterr().err


def test_a_cell_that_was_killed_is_listed_with_the_signal(workspace, capsys):
    assert sweep.main([grid_file(overrides={"behave": "crash"})]) == 1
    assert capsys.readouterr().err.startswith("failed: one/mher/seed_0  killed by SIGKILL: threads ")


def test_several_cells_at_once_use_one_thread_each(workspace):
    sweep.main([grid_file(seeds=1), "--jobs", "2"])
    assert "threads 1," in Path("out/one/mher/seed_0/fit.log").read_text()


def test_a_cell_alone_keeps_the_threads_it_was_given(workspace, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    sweep.main([grid_file(seeds=1)])
    assert "threads 7," in Path("out/one/mher/seed_0/fit.log").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_lets_its_cells_save_and_the_next_one_continues_them(workspace, capsys, number, code):
    behave(seed_1="hang")
    process = start_sweep(grid_file(seeds=3, overrides={"trainer.max_epochs": 4}))
    wait_until(lambda: log_says("waiting", seed=1))
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert "stopped: 1 of 3 cells are finished; the same command goes on from here" in out
    assert log_says("saved", seed=1)
    assert not Path("out/one/mher/seed_2").exists()

    behave()
    assert sweep.main([str(grid_file(seeds=3, overrides={"trainer.max_epochs": 4}))]) == 0
    out = capsys.readouterr().out
    assert "[1/3] continue  one/mher/seed_1" in out
    assert "[2/3] start     one/mher/seed_2" in out
    assert attempts("one/mher/seed_1")[1] == attempts("one/mher/seed_1")[0]
    assert " --ckpt_path last # " in attempts("one/mher/seed_1")[1]


def test_a_terminal_that_closes_has_the_cells_save(workspace):
    behave(seed_0="hang")
    terminal, inner = os.openpty()

    def begin():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where these tests run under nohup
        os.login_tty(inner)

    process = subprocess.Popen([sys.executable, "-c", RUN_SWEEP, grid_file(seeds=2)], preexec_fn=begin)
    wait_until(lambda: log_says("waiting"))
    os.close(inner)
    os.close(terminal)
    assert process.wait(timeout=30) == 128 + signal.SIGHUP
    assert log_says("saved")
    assert not Path("out/one/mher/seed_1").exists()


def test_cells_run_on_where_nobody_reads_the_lines_about_them(workspace):
    read, written = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", RUN_SWEEP, grid_file(seeds=2)], stdout=written)
    os.close(written)
    with os.fdopen(read) as lines:
        assert "0 finished, 2 to run" in lines.readline()  # as `| head -1` does
    assert process.wait(timeout=60) == 0
    for seed in (0, 1):
        assert len(attempts(f"one/mher/seed_{seed}")) == 1


def test_a_cell_that_does_not_listen_is_killed(workspace, monkeypatch):
    monkeypatch.setattr(job, "GRACE_S", 0.2)
    stop = threading.Event()
    deaf = read_sweep(Path(grid_file(overrides={"behave": "deaf"}))).cells()[0]
    threading.Thread(target=lambda: (wait_until(lambda: log_says("waiting")), stop.set())).start()
    with pytest.raises(job.Stopped):
        job.run_job(job.Job(deaf.command(), "fit", deaf.log.resolve(), workspace, {"PYTHONUNBUFFERED": "1"}), stop)
    assert not log_says("saved")


def test_a_cell_left_running_by_a_killed_sweep_is_not_started_twice(workspace, capsys):
    path = grid_file(overrides={"behave": "hang"})
    process = start_sweep(path)
    wait_until(lambda: log_says("waiting"))
    process.kill()
    process.communicate()
    assert sweep.main([path]) == 1
    assert "failed: one/mher/seed_0  it still runs, started by another sweep" in capsys.readouterr().err
    assert len(attempts("one/mher/seed_0")) == 1
    orphan = int(Path("out/one/mher/seed_0/fit.log").read_text().split()[-1])
    os.kill(orphan, signal.SIGTERM)
    wait_until(lambda: log_says("saved"))


def test_a_cell_that_only_failed_may_be_run_with_other_options(workspace):
    assert sweep.main([grid_file(overrides={"behave": "fail"})]) == 1
    assert sweep.main([grid_file()]) == 0


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_jobs_on_the_command_line_are_checked(workspace, jobs):
    with pytest.raises(UserError, match="--jobs is"):
        sweep.main([grid_file(), f"--jobs={jobs}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: SWEEP"),
        (["s.yaml", "--jobs=two"], "argument --jobs: invalid int value: 'two'"),
        (["s.yaml", "--engine=dask"], "argument --engine: invalid choice: 'dask'"),
        (["s.yaml", "--a\nb"], "unrecognized arguments: --a b"),
    ],
)
def test_a_usage_error_is_one_line(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        sweep.main(arguments)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert line.endswith("; allowed: see python -m mher_pl sweep --help")


def test_ray_runs_the_cells_on_two_workers(workspace, capsys):
    pytest.importorskip("ray")
    behave(seed_3="fail")
    path = grid_file(seeds=4, jobs=2)
    assert sweep.main([path, "--engine", "ray"]) == 1
    out, error = capsys.readouterr()
    assert sum(" finished " in line for line in out.splitlines()) == 3
    assert error == "failed: one/mher/seed_3  exit code 1: error: it went wrong  (log: out/one/mher/seed_3/fit.log)\n"
    for seed in range(4):
        assert log_says(f"threads 1, in {workspace}", seed)


def test_an_interrupted_sweep_on_ray_lets_its_cells_save(workspace):
    pytest.importorskip("ray")
    process = start_sweep(grid_file(seeds=3, overrides={"behave": "hang"}, jobs=2), "--engine=ray")
    wait_until(lambda: log_says("waiting", 0) and log_says("waiting", 1), seconds=60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    wait_until(lambda: log_says("saved", 0) and log_says("saved", 1))


def test_a_missing_ray_is_named_with_the_way_to_get_it(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="--engine is ray, which is not installed; allowed: local, or pip install"):
        sweep.main([grid_file(), "--engine", "ray"])


def test_a_cluster_of_ray_that_is_none_is_named(workspace, monkeypatch):
    def init(**_):
        raise ConnectionError("Could not find\nany running Ray instance")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.setenv("RAY_ADDRESS", "here:1")
    with pytest.raises(UserError, match=r"RAY_ADDRESS is 'here:1' \(Could not find any running Ray.*\); allowed"):
        sweep.main([grid_file(), "--engine", "ray"])


def test_the_sweeps_of_the_package_and_of_the_benchmarks_name_existing_configs(workspace):
    folders = (TESTS.parent / "configs", TESTS.parent / "benchmarks")
    sweeps = [path for folder in folders for path in (folder / "sweeps").glob("*.yaml")]
    cells = {path.stem: read_sweep(path).cells() for path in sweeps}
    assert all(len(cell.folder.parent.name) <= 100 for value in cells.values() for cell in value), "as fit has it"
    assert {name: len(value) for name, value in cells.items()} == {
        "figure_02": 5 * 6 * 5,
        "figure_03": (4 + 5 + 2 * 7) * 5,
        "figure_05": 3 * 4 * 5,
        "figure_06": 2 * 4 * 5,
        "figure_07": 3 * 4 * 5,
        "figure_08": 3 * 4 * 5,
        "figure_09": 2 * 9 * 5,
        "figure_10": 2 * 4 * 5,
        "figure_11": 3 * 4 * 5,
        "figure_mapgo": 2 * 3 * 5,
        "no_mbr_choices": 2 * 6 * 5,
        "point_tasks": 2 * 6 * 5,
        "all_methods": 2 * 14 * 5,
        "authors_arena": 2 * 5,
        "door": 4 * 3,
        "reacher_choices": 3 * 5,
        "push": 7 * 5,
        "panda_push": 4 * 5,
        "pick_and_place": 4 * 5,
        "slide": 4 * 3,
        "her_mixed": 2 * 5,
        "tune_point2d": 3,
    }


@pytest.mark.slow
def test_real_fits_are_swept_and_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(TESTS.parent)
    content = {
        "tasks": ["point2d"],
        "algorithms": ["mher", "her"],
        "seeds": 2,
        "jobs": 2,
        "out": str(tmp_path / "out"),
        "overrides": {"trainer.max_epochs": 2, "evaluation.episodes": 10, "warmup.episodes": 2, "warmup.updates": 5},
    }
    path = write(tmp_path / "small.yaml", **content)
    assert sweep.main([str(path)]) == 0, capsys.readouterr().err
    assert report([str(tmp_path / "out"), "--out", str(tmp_path / "tables")]) == 0
    assert capsys.readouterr().err == ""
    rows = [line.split(",")[:3] for line in (tmp_path / "tables/summary.csv").read_text().splitlines()[1:]]
    assert rows == [["Point2DLarge-v1 (boundary_dist=5)", name, "2"] for name in ("mher", "her")]
    curves = [line.split(",")[2:5] for line in (tmp_path / "tables/curves.csv").read_text().splitlines()[1:]]
    assert curves == [[str(seed), str(e), str(200 + 100 * e)] for _ in range(2) for seed in (0, 1) for e in (1, 2)]
