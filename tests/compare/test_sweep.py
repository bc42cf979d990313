import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest
import yaml

from mher_pl.compare import engines, grid, sweep
from mher_pl.compare.report import main as report
from mher_pl.errors import UserError
from mher_pl.storage.configs import SHIPPED

TESTS = Path(__file__).parents[1]
FAKE_FIT = [sys.executable, str(TESTS / "fake_fit.py")]
FAKE_CHECK = [sys.executable, "-c", "import sys; [print() for _ in sys.stdin]"]  # finds all settings good
RUN_SWEEP = f"""
import sys
sys.path.insert(0, {str(TESTS.parent)!r})
from mher_pl.compare import grid, sweep
grid.FIT[:], grid.CHECK[:] = {FAKE_FIT!r}, {FAKE_CHECK!r}
sys.exit(sweep.main(sys.argv[1:]))
"""


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


def write(path, **content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def grid_file(**content):
    keys = {"tasks": ["one"], "algorithms": ["mher"], "seeds": 1, "out": "out"} | content
    return write("configs/sweeps/grid.yaml", **{key: value for key, value in keys.items() if value is not None})


def behave(**seeds):
    """Say what the stand-in for `fit` does with `seed_0` and so on."""
    write("behave.yaml", **seeds)


def attempts(cell):
    return [line for line in Path(f"out/{cell}/fit.log").read_text().splitlines() if line.startswith("$ ")]


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
        "'--data.env_kwargs={\"size\": 4.0}' --model.dynamics=null '--name=\"2024-02-01\"'\n"
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
        "'--model.hidden_sizes=[16, -1]'"
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


def start_sweep(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", RUN_SWEEP, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def log_says(text, seed=0):
    log = Path(f"out/one/mher/seed_{seed}/fit.log")
    return log.is_file() and text in log.read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_lets_its_cells_save_and_the_next_one_continues_them(workspace, capsys, number, code):
    behave(seed_1="hang")
    process = start_sweep(grid_file(seeds=3, overrides={"trainer.max_epochs": 4}))
    wait_for(lambda: log_says("waiting", seed=1))
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
    assert " --ckpt_path last # " in attempts("one/mher/seed_1")[1]
    assert "--ckpt_path" not in attempts("one/mher/seed_2")[0]


def test_a_cell_that_does_not_listen_is_killed(workspace, monkeypatch):
    monkeypatch.setattr(engines, "GRACE_S", 0.2)
    stop = engines.threading.Event()
    cell = grid.read_sweep(Path(grid_file(overrides={"behave": "deaf"}))).cells()[0]
    job = engines.Job(cell.command(), "fit", cell.log.resolve(), workspace, {"PYTHONUNBUFFERED": "1"})
    engines.threading.Thread(target=lambda: (wait_for(lambda: log_says("waiting")), stop.set())).start()
    with pytest.raises(engines.Stopped):
        engines.run_job(job, stop)
    assert not log_says("saved")


def test_a_cell_left_running_by_a_killed_sweep_is_not_started_twice(workspace, capsys):
    path = grid_file(overrides={"behave": "hang"})
    process = start_sweep(path)
    wait_for(lambda: log_says("waiting"))
    process.kill()
    process.communicate()
    assert sweep.main([path]) == 1
    assert "failed: one/mher/seed_0  it still runs, started by another sweep" in capsys.readouterr().err
    assert len(attempts("one/mher/seed_0")) == 1
    orphan = int(Path("out/one/mher/seed_0/fit.log").read_text().split()[-1])
    os.kill(orphan, signal.SIGTERM)
    wait_for(lambda: log_says("saved"))


def test_what_was_run_with_other_options_is_not_passed_off_as_the_sweeps(workspace):
    sweep.main([grid_file(overrides={"trainer.max_epochs": 1})])
    message = (
        r"out holds out/one/mher/seed_0, run with --trainer.max_epochs=1 where the sweep has --trainer.max_epochs=3"
    )
    with pytest.raises(UserError, match=message):
        sweep.main([grid_file(overrides={"trainer.max_epochs": 3})])


@pytest.mark.parametrize("path", ["configs/one.yaml", "configs/algorithms/mher.yaml"])
@pytest.mark.parametrize("ended", ["learn", "hang"])
def test_what_was_run_before_an_edit_of_a_config_file_is_not_passed_off_as_the_sweeps(workspace, path, ended):
    content = yaml.safe_load(Path(path).read_text()) | {"model": {"discount": 0.98}}
    write(path, **content)
    process = start_sweep(grid_file(overrides={"behave": ended}))
    if ended == "hang":
        wait_for(lambda: log_says("waiting"))
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    write(path, **content | {"model": {"discount": 0.5}})
    message = rf"out holds out/one/mher/seed_0, run with other settings in {path} than there are now; allowed: the same"
    with pytest.raises(UserError, match=message):
        sweep.main([grid_file(seeds=2, overrides={"behave": ended})])
    assert not Path("out/one/mher/seed_1").exists()


def test_an_edited_comment_or_order_of_keys_is_no_other_setting(workspace):
    write("configs/one.yaml", env="mher_pl/One-v1", model={"discount": 0.98})
    assert sweep.main([grid_file()]) == 0
    Path("configs/one.yaml").write_text("# the first task\nmodel:\n  discount: 0.98  # gamma\nenv: mher_pl/One-v1\n")
    assert sweep.main([grid_file(seeds=2)]) == 0
    assert [len(attempts(f"one/mher/seed_{seed}")) for seed in range(2)] == [1, 1]


def test_a_config_file_edited_while_the_sweep_runs_fails_the_cells_that_would_differ(workspace):
    behave(seed_0="wait")
    process = start_sweep(grid_file(seeds=2))
    wait_for(lambda: log_says("waiting"))
    write("configs/one.yaml", env="mher_pl/One-v1", model={"discount": 0.5})
    Path("go").touch()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "[1/2] finished  one/mher/seed_0" in out
    assert "failed: one/mher/seed_1  configs/one.yaml was edited while the sweep ran; allowed: the settings" in out
    assert not Path("out/one/mher/seed_1").exists()


def test_a_log_without_digests_is_judged_by_its_options(workspace):
    path = grid_file()
    assert sweep.main([path]) == 0
    log, (start,) = Path("out/one/mher/seed_0/fit.log"), attempts("one/mher/seed_0")
    log.write_text(log.read_text().replace(start, start.split(" # ")[0]))
    assert sweep.main([path]) == 0
    assert len(attempts("one/mher/seed_0")) == 1


def test_a_cell_that_only_failed_may_be_run_with_other_options(workspace):
    assert sweep.main([grid_file(overrides={"behave": "fail"})]) == 1
    assert sweep.main([grid_file()]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"task": ["one"]}, "has the key 'task'; allowed: tasks, algorithms, seeds, jobs, out, overrides, grid"),
        ({"tasks": None}, "tasks is None; allowed: a list"),
        ({"tasks": []}, r"tasks is \[\]; allowed: a list"),
        ({"tasks": ["three"]}, "tasks is 'three'; allowed: a YAML file, or one of the names .*one, .*two"),
        ({"tasks": ["one", "configs/one.yaml"]}, "tasks has two files named one"),
        ({"algorithms": ["algorithms/none.yaml"]}, "algorithms is 'algorithms/none.yaml'; allowed: a YAML file"),
        ({"seeds": []}, r"seeds is \[\]; allowed"),
        ({"seeds": None}, "seeds is None; allowed"),
        ({"seeds": 0}, "seeds is 0; allowed"),
        ({"seeds": True}, "seeds is True; allowed"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; allowed"),
        ({"seeds": [-1]}, r"seeds is \[-1\]; allowed"),
        ({"seeds": 2**33}, "seeds is 8589934592; allowed: a number of seeds from 1 to 10000, or a list"),
        ({"seeds": [2**32]}, r"seeds is \[4294967296\]; allowed: .* different integers from 0 to 4294967295"),
        ({"out": 5}, "out is 5; allowed: the path of a folder"),
        ({"out": ["a"]}, r"out is \['a'\]; allowed: the path of a folder"),
        ({"out": ""}, "out is ''; allowed: the path of a folder"),
        ({"out": "a\0b"}, r"out is 'a\\x00b'; allowed: a folder that can be written"),
        ({"jobs": 0}, "jobs is 0; allowed: an integer of at least 1"),
        ({"jobs": "two"}, "jobs is 'two'; allowed: an integer of at least 1"),
        ({"overrides": ["a"]}, r"overrides is \['a'\]; allowed: dotted settings"),
        ({"overrides": {"seed_everything": 1}}, "overrides has seed_everything, which the sweep sets"),
        ({"grid": ["a"]}, r"grid is \['a'\]; allowed: dotted settings with lists of values"),
        ({"grid": {"a": 1}}, "grid is {'a': 1}; allowed: dotted settings with lists of values"),
        ({"grid": {"a": []}}, r"grid is {'a': \[\]}; allowed: dotted settings with lists of values"),
        ({"grid": {"algorithm": ["a"]}}, "grid has algorithm, which the sweep sets for each cell"),
        ({"grid": {"a": [1]}, "overrides": {"a": 2}}, "grid has a, which the sweep sets for each cell"),
        ({"grid": {"a": [1, 1]}}, r"grid has a: \[1, 1\]; allowed: values that differ"),
        ({"grid": {"a.lr": [1], "b.lr": [2]}}, "grid has a.lr, b.lr; allowed: settings whose last words differ"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_says_what_is_allowed(workspace, content, message):
    with pytest.raises(UserError, match=message) as error:
        sweep.main([grid_file(**content)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, "a: [1", "- a list", "", b"\xff\xfe"])
def test_a_file_that_is_no_sweep_is_refused(workspace, text):
    if text is not None:
        Path("s.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"SWEEP is '?s\.yaml'?[;,]"):
        sweep.main(["s.yaml"])


@pytest.mark.parametrize("text", ["a: [1", "a: 2024-13-01", b"\xff\xfe"])
def test_a_config_file_that_is_no_yaml_is_refused_before_any_cell_runs(workspace, text):
    Path("configs/one.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"--config is configs/one\.yaml") as error:
        sweep.main([grid_file()])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_jobs_on_the_command_line_are_checked(workspace, jobs):
    with pytest.raises(UserError, match="--jobs is"):
        sweep.main([grid_file(), f"--jobs={jobs}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: SWEEP"),
        (["s.yaml", "--jobs=two"], "argument --jobs: invalid int value: 'two'"),
        (["s.yaml", "--engine=slurm"], "argument --engine: invalid choice: 'slurm'"),
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


def test_an_out_that_is_a_file_is_refused(workspace):
    Path("out").write_text("")
    with pytest.raises(UserError, match="out is 'out'; allowed: a folder"):
        sweep.main([grid_file()])


def test_a_sweep_is_found_by_its_name_and_so_are_its_configs_from_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert sweep.main(["point_tasks", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 6 * 5
    assert f"--config {SHIPPED}/four_room.yaml --config {SHIPPED}/algorithms/ddpg.yaml" in lines[-1]
    assert "--trainer.default_root_dir runs/point_tasks/four_room/ddpg/seed_4" in lines[-1]


def test_the_working_folders_own_sweep_and_configs_come_before_those_of_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("configs/sweeps/point_tasks.yaml", tasks=["point2d", "fetch"], algorithms=["her"], seeds=1)
    write("configs/point2d.yaml", env="mher_pl/One-v1")
    assert sweep.main(["point_tasks", "--dry-run"]) == 0
    one, two = capsys.readouterr().out.splitlines()
    assert f"--config configs/point2d.yaml --config {SHIPPED}/algorithms/her.yaml" in one
    assert f"--config {SHIPPED}/fetch.yaml" in two


def test_an_unknown_sweep_is_one_line_with_the_known_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"SWEEP is 'point_task'; allowed: a YAML file, or .*, point_tasks, ") as error:
        sweep.main(["point_task"])
    assert "\n" not in str(error.value)


def test_names_are_found_beside_the_sweeps_file_from_any_folder(workspace, monkeypatch, capsys):
    path = Path(grid_file(out=None)).resolve()
    (workspace / "elsewhere").mkdir()
    monkeypatch.chdir(workspace / "elsewhere")
    assert sweep.main([str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"--config {workspace}/configs/algorithms/mher.yaml" in out
    assert "--trainer.default_root_dir runs/grid/one/mher/seed_0" in out


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
    wait_for(lambda: log_says("waiting", 0) and log_says("waiting", 1), seconds=60)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    wait_for(lambda: log_says("saved", 0) and log_says("saved", 1))


def test_a_missing_ray_is_named_with_the_way_to_get_it(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="--engine is ray, which is not installed; allowed: local, or pip install"):
        sweep.main([grid_file(), "--engine", "ray"])


def test_the_sweeps_that_come_with_the_package_name_existing_configs(monkeypatch):
    monkeypatch.chdir(TESTS.parent)
    cells = {path.stem: grid.read_sweep(path).cells() for path in Path("configs/sweeps").glob("*.yaml")}
    assert {name: len(value) for name, value in cells.items()} == {
        "paper": 5 * 14 * 5,
        "point_tasks": 2 * 6 * 5,
        "point_and_fetch": 3 * 6 * 5,
        "methods_point2d": 14 * 5,
        "methods_fetch": 14 * 5,
        "mher_points": 2 * 5,
        "mher_four_room_4": 5,
        "mher_robots": 3 * 5,
        "reacher_choices": 3 * 5,
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
