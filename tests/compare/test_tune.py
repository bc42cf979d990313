import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_sweeps import RUN_SWEEP, TESTS, behave, grid_file, wait_until, write

from mher_pl.compare import sweep, tune
from mher_pl.compare.job import Busy
from mher_pl.compare.report import main as report
from mher_pl.compare.search import Range
from mher_pl.compare.study import Study
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import UserError

pytest.importorskip("optuna")


def search_file(**content):
    """Write a search of how soon the stand-in for `fit` is good; its rate rises by `rise` an epoch."""
    keys = {"search": {"rise": {"low": 0.0, "high": 0.2}, "kind": ["a", [1, 2]]}, "trials": 4}
    return grid_file(**keys | {"overrides": {"behave": "rise"}} | content)


def start_tune(*arguments):
    code = RUN_SWEEP.replace("sweep", "tune")
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def table():
    return list(csv.DictReader(Path("out/trials.csv").read_text().splitlines()))


def log(trial, seed=0):
    path = Path(f"out/one/trial_{trial}/seed_{seed}/fit.log")
    return path.read_text() if path.is_file() else ""


def test_trials_are_fits_whose_median_area_over_seeds_is_their_value(workspace, capsys):
    assert tune.main([search_file(seeds=3, jobs=3)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 trials of 3 seeds in out: 0 ended, 3 fits at once"
    assert sum(" finished " in line for line in lines) == 4
    rows = table()
    assert [row["trial"] for row in rows] == ["trial_0", "trial_1", "trial_2", "trial_3"]
    for row in rows:
        # Two epochs, whose rates are one and two rises; seed_1 has half of it more, seed_2 twice that.
        assert float(row["area_under_curve"]) == pytest.approx(1.5 * 1.5 * float(row["rise"]), rel=1e-4)
        assert row["epochs"] == "2"
        assert f" --rise={row['rise']}" in log(row["trial"].removeprefix("trial_"))
    assert {row["kind"] for row in rows} <= {"a", "[1, 2]"}
    best = max(rows, key=lambda row: float(row["area_under_curve"]))
    assert lines[-2].startswith(f"best: {best['trial']}, area ")
    assert f"--rise={best['rise']}" in lines[-2]
    assert report(["out", "--out", "tables"]) == 0
    methods = [line.split(",")[1:3] for line in Path("tables/summary.csv").read_text().splitlines()[1:]]
    assert sorted(methods) == [[f"trial_{number}", "3"] for number in range(4)]


def test_a_trial_below_the_median_of_those_before_is_given_up(workspace, capsys):
    path = search_file(overrides={"behave": "hang"}, trials=6, prune_from=1, seeds=2, jobs=2)
    before = read_sweep(Path(path))
    before.out.mkdir()
    study = Study(before, before.search)
    for _ in range(5):
        with study.next() as (trial, _):
            trial.report(0.6, 1)
            study.end(trial, 0.6)
    assert tune.main([path]) == 0
    assert "[6/6] pruned    trial_5  below the median of the trials before" in capsys.readouterr().out
    assert [row["state"] for row in table()] == ["complete"] * 5 + ["pruned"]
    assert all("saved" in log(5, seed) for seed in range(2))


def test_without_prune_from_no_trial_is_given_up(workspace):
    sweep = read_sweep(Path(search_file(trials=6)))
    sweep.out.mkdir()
    study = Study(sweep, sweep.search)
    for _ in range(5):
        with study.next() as (trial, _):
            trial.report(0.6, 1)
            study.end(trial, 0.6)
    with study.next() as (trial, _):
        trial.report(0.0, 1)
        assert not trial.should_prune()


def test_an_interrupted_search_goes_on_with_its_trial(workspace, capsys):
    behave(seed_1="hang")
    path = search_file(trials=2, seeds=2, jobs=2, overrides={"behave": "rise", "trainer.max_epochs": 3})
    process = start_tune(path)
    wait_until(lambda: "waiting" in log(0, seed=1))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped: the same command goes on from here" in out
    assert "saved" in log(0, seed=1)
    assert [row["state"] for row in table()] == ["running"]

    behave()
    assert tune.main([path]) == 0
    assert "continue  trial_0  --rise=" in capsys.readouterr().out
    assert [row["state"] for row in table()] == ["complete", "complete"]
    (first, second) = [line for line in log(0, seed=1).splitlines() if line.startswith("$ ")]
    assert first == second


def test_a_fit_that_somebody_else_ended_goes_on(workspace):
    path = search_file(trials=1, overrides={"behave": "hang", "trainer.max_epochs": 2})
    process = start_tune(path)
    wait_until(lambda: "waiting" in log(0))
    behave(seed_0="learn")
    os.kill(int(log(0).split()[-1]), signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "continue  trial_0" in out
    assert [row["state"] for row in table()] == ["complete"]


def test_what_a_killed_search_left_running_is_joined_and_not_started_twice(workspace, monkeypatch):
    monkeypatch.setattr(tune, "BUSY_S", 0.1)
    path = search_file(trials=1, overrides={"behave": "hang", "trainer.max_epochs": 2})
    process = start_tune(path)
    wait_until(lambda: "waiting" in log(0))
    process.kill()
    process.communicate()
    orphan = int(log(0).split()[-1])
    behave(seed_0="learn")
    run_cell, joined = tune.run_cell, []

    def run_or_join(*arguments):
        try:
            return run_cell(*arguments)
        except Busy:
            if not joined:
                os.kill(orphan, signal.SIGTERM)
            joined.append(arguments)
            raise

    monkeypatch.setattr(tune, "run_cell", run_or_join)
    assert tune.main([path]) == 0
    assert joined
    starts, saved = [match.start() for match in re.finditer(r"^\$ ", log(0), re.MULTILINE)], log(0).index("saved")
    assert starts[0] < saved < starts[1]
    assert len(starts) == 2
    assert [row["state"] for row in table()] == ["complete"]


def test_two_processes_share_the_trials(workspace):
    path = search_file(trials=4)
    processes = [start_tune(path) for _ in range(2)]
    outs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outs
    assert [row["trial"] for row in table()] == ["trial_0", "trial_1", "trial_2", "trial_3"]
    for number in range(4):
        assert sum(f"start     trial_{number} " in out for out in outs) == 1
        assert log(number).count("$ ") == 1


def test_a_trial_that_fails_stops_no_other(workspace, capsys):
    behave(seed_1="fail")
    assert tune.main([search_file(trials=2, seeds=2)]) == 1
    out = capsys.readouterr().out
    assert "[1/2] failed    trial_0  exit code 1: error: it went wrong\n" in out
    assert "best" not in out
    assert [row["state"] for row in table()] == ["fail", "fail"]
    assert tune.main([search_file(trials=2, seeds=2)]) == 1, "nor is it well where all have failed before"
    assert "no trial has an area: see out/trials.csv" in capsys.readouterr().out


def test_failures_one_after_another_leave_trials_for_the_next_time(workspace, capsys):
    behave(seed_0="fail")
    assert tune.main([search_file(trials=9)]) == 1
    assert "3 trials failed one after another: no more begin; the same command goes on\n" in capsys.readouterr().out
    assert [row["state"] for row in table()] == ["fail"] * 3
    behave(seed_0="rise")
    assert tune.main([search_file(trials=9)]) == 0
    assert [row["state"] for row in table()] == ["fail"] * 3 + ["complete"] * 6


def test_more_trials_may_be_added_and_other_settings_may_not(workspace):
    assert tune.main([search_file(trials=1)]) == 0
    assert tune.main([search_file(trials=2)]) == 0
    assert len(table()) == 2
    with pytest.raises(
        UserError, match="out is out, which holds a search with other seeds; allowed: the same as before"
    ):
        tune.main([search_file(trials=2, seeds=2)])
    with pytest.raises(UserError, match="which holds a search with other search"):
        tune.main([search_file(trials=2, search={"rise": {"low": 0.0, "high": 0.1}})])


def test_a_config_file_edited_while_the_search_runs_ends_it(workspace):
    behave(seed_0="wait")
    process = start_tune(search_file())
    wait_until(lambda: "waiting" in log(0))
    write("configs/one.yaml", env="mher_pl/One-v1", model={"discount": 0.5})
    Path("go").touch()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "out is out, which holds a search with other tasks and algorithms; allowed: the same as before" in out
    assert [row["state"] for row in table()] == ["complete"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"search": None, "trials": None}, "SWEEP is .*, which has no search; allowed: a file with the key search"),
        ({"search": [1]}, r"search is \[1\]; allowed: dotted settings"),
        ({"search": {"rise": 1}}, "search has rise: 1; allowed: a list of different values, or low and high"),
        ({"search": {"rise": [1]}}, r"search has rise: \[1\]; allowed"),
        ({"search": {"rise": [1, 1]}}, r"search has rise: \[1, 1\]; allowed"),
        ({"search": {"rise": {"low": 1, "high": 0}}}, "search has rise: .*; allowed"),
        ({"search": {"rise": {"low": 0, "high": 1, "log": True}}}, "search has rise: .*; allowed"),
        ({"search": {"rise": {"low": 0, "high": float("inf")}}}, "search has rise: .*; allowed"),
        ({"search": {"rise": {"low": 0, "high": 1, "step": 1}}}, "search has rise: .*; allowed"),
        ({"search": {"seed_everything": [1, 2]}}, "search has seed_everything, which the sweep sets for each cell"),
        ({"search": {"behave": ["fail", "learn"]}}, "search has behave, which overrides has too; allowed: one of"),
        ({"tasks": ["one", "two"]}, "search is of 2 pairs of task and algorithm; allowed: one"),
        ({"grid": {"a": [1]}}, "search is beside grid; allowed: one task and one algorithm, without a grid or panels"),
        (
            {"tasks": None, "algorithms": None, "panels": {"a": {"task": "one", "curves": {"b": {"her": {"c": 1}}}}}},
            "search is beside panels; allowed: one task and one algorithm, without a grid or panels",
        ),
        ({"trials": None}, "trials is null; allowed: an integer of at least 1"),
        ({"prune_from": 0}, "prune_from is 0; allowed: an integer of at least 1"),
    ],
)
def test_a_search_that_makes_no_sense_is_named(workspace, content, message):
    with pytest.raises(UserError, match=message):
        tune.main([search_file(**content)])
    assert not Path("out").exists()


def test_numbers_that_yaml_takes_for_texts_are_numbers(workspace):
    space = {"low": "1e-4", "high": "1e-2", "log": True}  # YAML wants 1.0e-4
    assert read_sweep(Path(search_file(search={"rise": space}))).search.space["rise"] == Range(1e-4, 1e-2, log=True)
    with pytest.raises(UserError, match=r"search has rise: .*; allowed"):
        read_sweep(Path(search_file(search={"rise": {"low": "one", "high": "1e-2"}})))


def test_a_table_of_trials_that_cannot_be_written_is_one_line(workspace):
    Path("out/trials.csv").mkdir(parents=True)
    with pytest.raises(UserError, match=r"out is out \(Is a directory\); allowed: a folder that can be written"):
        tune.main([search_file(trials=1)])


def test_a_sweep_does_not_run_a_search(workspace):
    with pytest.raises(UserError, match="which has a search; allowed: python -m mher_pl tune, or a file without one"):
        sweep.main([search_file()])


def test_a_missing_optuna_is_named_with_the_way_to_get_it(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="tune needs optuna, which is not installed; allowed: pip install 'mher_pl"):
        tune.main([search_file()])


def real_search(folder, **content):
    keys = {
        "tasks": ["point2d"],
        "algorithms": ["mher"],
        "seeds": 2,
        "jobs": 2,
        "out": str(folder / "out"),
        "overrides": {"trainer.max_epochs": 2, "evaluation.episodes": 10, "warmup.episodes": 2, "warmup.updates": 5},
        "search": {"model.imitation_weight": {"low": 0.0, "high": 10.0}, "model.relabel.steps": [0, 1, 3]},
        "trials": 3,
    }
    return str(write(folder / "search.yaml", **keys | content))


@pytest.mark.slow
def test_a_value_that_could_not_be_trained_is_named_before_the_first_trial(tmp_path, monkeypatch):
    monkeypatch.chdir(TESTS.parent)
    with pytest.raises(UserError, match=r"cannot run: model.discount is 1.0; allowed: a number from 0 to below 1"):
        tune.main([real_search(tmp_path, search={"model.discount": {"low": 0.5, "high": 1.0}})])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_real_fits_are_tuned_and_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(TESTS.parent)
    assert tune.main([real_search(tmp_path)]) == 0, capsys.readouterr()
    assert report([str(tmp_path / "out"), "--out", str(tmp_path / "tables")]) == 0
    assert capsys.readouterr().err == ""
    rows = [line.split(",")[1:3] for line in (tmp_path / "tables/summary.csv").read_text().splitlines()[1:]]
    assert sorted(rows) == [[f"trial_{number}", "2"] for number in range(3)]
