import csv
import re
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from fake_runs import START, write_config, write_metrics, write_run
from lightning.pytorch.callbacks import Timer
from matplotlib.image import imread
from trained_runs import fit

from mher_pl.compare.figure import draw_curves
from mher_pl.compare.report import main
from mher_pl.errors import UserError


def report(*runs, out, options=()):
    return main([*map(str, runs), "--out", str(out), *options])


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_report_writes_every_evaluation_of_every_run(tmp_path):
    write_run(tmp_path / "runs/a/mher/seed_0", [0.5, 1.0], env="mher_pl/A-v1")
    write_run(tmp_path / "runs/a/her/seed_3", [0.25, 0.75], env="mher_pl/A-v1", algorithm="her", seed=3)
    assert report(tmp_path / "runs", out=tmp_path / "new/out") == 0
    lines = (tmp_path / "new/out/curves.csv").read_text().splitlines()
    assert lines == [
        "task,algorithm,seed,epoch,env_steps,success_rate,wall_s",
        "A-v1,mher,0,1,2100,0.5,10",
        "A-v1,mher,0,2,2200,1,20",
        "A-v1,her,3,1,2100,0.25,10",
        "A-v1,her,3,2,2200,0.75,20",
    ]


def test_methods_that_end_after_other_steps_are_told(tmp_path, capsys):
    write_run(tmp_path / "runs/a/mher/seed_0", [0.5, 1.0])
    write_run(tmp_path / "runs/a/her/seed_0", [0.5, 0.5, 1.0], algorithm="her")
    assert report(tmp_path / "runs", out=tmp_path) == 0
    note = "note: on Point2DLarge-v1 the last evaluations are after different steps: mher 2,200, her 2,300\n"
    assert capsys.readouterr().err == note


def test_methods_that_are_first_evaluated_after_other_steps_are_told(tmp_path, capsys):
    write_run(tmp_path / "runs/mher", [0.5, 1.0])
    write_config(tmp_path / "runs/her", max_epochs=2, algorithm="her")
    write_metrics(tmp_path / "runs/her", [0.5, 1.0], warmup_steps=2050, steps_per_epoch=75)
    assert report(tmp_path / "runs", out=tmp_path) == 0
    note = "note: on Point2DLarge-v1 the first evaluations are after different steps: mher 2,100, her 2,125\n"
    assert capsys.readouterr().err == note


def test_the_summary_holds_the_statistics_over_seeds(tmp_path, capsys):
    finals = [0.0, 0.96, 0.97, 0.98, 1.0]
    for seed, final in enumerate(finals):
        write_run(tmp_path / f"runs/seed_{seed}", [0.5, final, final], seed=seed)
    report(tmp_path / "runs", out=tmp_path)
    (row,) = table(tmp_path / "summary.csv")
    assert (row["task"], row["algorithm"], row["seeds"]) == ("Point2DLarge-v1", "mher", "5")
    assert float(row["median_final_success"]) == pytest.approx(0.97)
    assert float(row["iqm_final_success"]) == pytest.approx(0.97)  # the middle three
    assert float(row["iqm_low"]) < 0.97 < float(row["iqm_high"]) <= 1.0
    assert float(row["area_under_curve"]) == pytest.approx(np.mean([0.25 * 0.5 + 0.75 * x for x in finals[1:4]]))
    assert float(row["env_steps_to_95"]) == 2200
    assert row["seeds_reaching_95"] == "4"
    assert "mher           5       100   0.970  0.970" in capsys.readouterr().out


def test_steps_that_most_seeds_never_reach_are_an_empty_cell(tmp_path):
    for seed, final in enumerate([0.5, 0.5, 1.0]):
        write_run(tmp_path / f"runs/seed_{seed}", [final], seed=seed)
    report(tmp_path / "runs", out=tmp_path)
    (row,) = table(tmp_path / "summary.csv")
    assert row["env_steps_to_95"] == ""
    assert row["seeds_reaching_95"] == "1"


def test_tasks_together_are_summarised_for_algorithms_that_ran_on_all(tmp_path):
    for seed in range(2):
        for env, rate in (("A-v1", 0.0), ("B-v1", 1.0)):
            write_run(tmp_path / f"runs/{env}/mher/{seed}", [rate], env=env, seed=seed)
        write_run(tmp_path / f"runs/A-v1/her/{seed}", [1.0], env="A-v1", algorithm="her", seed=seed)
    report(tmp_path / "runs", out=tmp_path)
    assert table(tmp_path / "overall.csv") == [
        {
            "algorithm": "mher",
            "tasks": "2",
            "runs": "4",
            "episodes": "100",
            "iqm_final_success": "0.5",
            "iqm_low": "0.5",
            "iqm_high": "0.5",
        }
    ]


def test_algorithms_are_compared_on_the_tasks_that_both_have(tmp_path, capsys):
    for seed in range(2):
        for env, name, rate in (
            ("A-v1", "mher", 1.0),
            ("A-v1", "her", 0.5),
            ("B-v1", "mher", 0.25),
            ("B-v1", "her", 0.25),
        ):
            folder = tmp_path / f"runs/{env}/{name}/{seed}"
            write_run(folder, [rate], env=env, algorithm=name, seed=seed, episodes=50 if seed else 100)
        write_run(tmp_path / f"runs/B-v1/cher/{seed}", [0.75], env="B-v1", algorithm="cher", seed=seed)
    report(tmp_path / "runs", out=tmp_path)
    rows = [list(row.values()) for row in table(tmp_path / "improvement.csv")]
    assert rows == [
        ["mher", "her", "2", "4", "4", "50", "0.75", "0.75", "0.75"],
        ["mher", "cher", "1", "2", "2", "50", "0", "0", "0"],
        ["her", "cher", "1", "2", "2", "50", "0", "0", "0"],
    ]
    assert re.search(r"\n  her +2  4 : 4 +50 +0.750 \[0.750, 0.750\]\n", capsys.readouterr().out)


def test_the_figure_is_an_image_with_a_panel_per_task(tmp_path):
    for task in ("A-v1", "B-v1"):
        write_run(tmp_path / f"runs/{task}", [0.5, 1.0], env=task)
    report(tmp_path / "runs", out=tmp_path)
    height, width, _ = imread(tmp_path / "curves.png").shape
    assert width > 1.9 * height


def drawn(monkeypatch) -> list:
    """Return the list into which the next reports put what they draw: tasks, and what the x-axis is."""
    calls = []

    def keep(tasks, episodes, x_label):
        calls.append((tasks, x_label))
        return draw_curves(tasks, episodes, x_label)

    monkeypatch.setattr("mher_pl.compare.report.draw_curves", keep)
    return calls


def test_the_figure_is_drawn_against_what_was_asked_for_the_median_over_seeds(tmp_path, monkeypatch):
    for seed, seconds in enumerate([5.0, 10.0, 30.0]):
        write_config(tmp_path / f"runs/{seed}", seed=seed, max_epochs=2)
        write_metrics(tmp_path / f"runs/{seed}", [0.5, 1.0], seconds_per_epoch=seconds)
    calls = drawn(monkeypatch)
    for x in ("epoch", "env_steps", "wall_s"):
        report(tmp_path / "runs", out=tmp_path / "out", options=["--x", x])
    places = [tasks["Point2DLarge-v1"]["mher"][0].tolist() for tasks, _ in calls]
    assert places == [[1, 2], [2100, 2200], [10, 20]]
    assert [label.split(",")[0] for _, label in calls] == ["epoch", "environment steps of training", "seconds"]


def test_seconds_that_no_run_recorded_are_refused(tmp_path):
    write_run(tmp_path / "runs", [0.5])
    table = tmp_path / "runs/metrics.csv"
    table.write_text(table.read_text().replace("time/wall", "time/other"))
    with pytest.raises(UserError, match="--x is wall_s, which runs of mher on Point2DLarge-v1 do not record; allowed"):
        report(tmp_path / "runs", out=tmp_path / "out", options=["--x", "wall_s"])
    assert not (tmp_path / "out").exists()


def test_labels_set_two_settings_of_one_method_side_by_side_in_their_order(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path / f"new/{seed}", [1.0], seed=seed, model={"discount": 0.9})
        write_run(tmp_path / f"old/{seed}", [0.5], seed=seed, model={"discount": 0.99}, start=START + 100)
    report(tmp_path / "old", tmp_path / "new", out=tmp_path, options=["--label", "g = 0.99", "g = 0.9"])
    assert capsys.readouterr().err == "", "none is left out"
    assert [(row["algorithm"], row["seeds"]) for row in table(tmp_path / "summary.csv")] == [
        ("g = 0.99", "2"),
        ("g = 0.9", "2"),
    ]
    (row,) = table(tmp_path / "improvement.csv")
    assert (row["algorithm"], row["other"], row["probability"]) == ("g = 0.99", "g = 0.9", "0")


def test_labels_stand_behind_the_names_of_several_methods(tmp_path, capsys):
    for label, methods in (("before", ("mher", "her")), ("after", ("mher",))):
        for method in methods:
            write_run(tmp_path / label / method, [0.5], algorithm=method)
    report(tmp_path / "before", tmp_path / "after", out=tmp_path, options=["--label", "before", "after"])
    assert capsys.readouterr().err == "", "none is left out"
    methods = {row["algorithm"] for row in table(tmp_path / "summary.csv")}
    assert methods == {"mher, before", "her, before", "mher, after"}


def test_tables_of_an_earlier_report_do_not_stay(tmp_path):
    for method in ("mher", "her"):
        write_run(tmp_path / "runs" / method, [0.5], algorithm=method)
    report(tmp_path / "runs", out=tmp_path)
    assert (tmp_path / "improvement.csv").is_file()
    report(tmp_path / "runs" / "her", out=tmp_path)
    assert not (tmp_path / "improvement.csv").exists()


def test_a_run_below_two_paths_has_the_label_of_the_first(tmp_path):
    write_run(tmp_path / "runs/a", [1.0])
    write_run(tmp_path / "runs/b", [0.5])
    report(tmp_path / "runs/a", tmp_path / "runs", out=tmp_path, options=["--label", "one", "rest"])
    assert [row["algorithm"] for row in table(tmp_path / "summary.csv")] == ["one", "rest"]


@pytest.mark.parametrize("paths", [("runs", "runs/old"), ("new", "new"), ("runs/old", "empty")])
def test_a_label_for_nothing_is_refused(tmp_path, paths):
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "runs/old", [1.0])
    write_run(tmp_path / "new", [0.5])
    with pytest.raises(UserError, match=r"--label is '[ab]'; allowed: for a RUN that has runs, given once, and before"):
        report(*(tmp_path / path for path in paths), out=tmp_path / "out", options=["--label", "a", "b"])


def test_labels_are_as_many_as_paths(tmp_path):
    write_run(tmp_path / "runs", [0.5])
    with pytest.raises(UserError, match="--label is 'a b'; allowed: 1 names, one for each RUN"):
        report(tmp_path / "runs", out=tmp_path, options=["--label", "a", "b"])


def test_broken_and_unfinished_runs_are_named_and_never_averaged_in(tmp_path, capsys):
    for seed in range(3):
        write_run(tmp_path / f"runs/seed_{seed}", [0.5, 1.0], seed=seed)
    unfinished = write_config(tmp_path / "runs/unfinished", seed=3, max_epochs=2)
    write_metrics(unfinished, [0.0])
    broken = write_run(tmp_path / "runs/broken", [0.0, 0.0], seed=4)
    (broken / "config.yaml").unlink()
    assert report(tmp_path / "runs", out=tmp_path) == 0
    (row,) = table(tmp_path / "summary.csv")
    assert (row["seeds"], row["iqm_final_success"], row["iqm_low"]) == ("3", "1", "1")
    error = capsys.readouterr().err
    assert f"left out: {unfinished} is unfinished: 1 of 2 epochs\n" in error
    assert f"left out: {broken} has no config.yaml\n" in error


def test_runs_that_end_early_by_a_setting_are_whole(tmp_path, capsys, monkeypatch):
    looks = count()
    monkeypatch.setattr(Timer, "time_elapsed", lambda self, stage=None: next(looks))  # a clock of a second a look
    stopping = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=eval/success_rate"]
    stopping += ["--trainer.callbacks.min_delta=1.0", "--trainer.callbacks.patience=1"]
    for name, options in (("stopped", stopping), ("timed", ["--trainer.max_time=00:00:00:05"])):
        assert fit(tmp_path / "runs", f"--algorithm={name}", *options, epochs=100) == 0
    assert report(tmp_path / "runs", out=tmp_path) == 0
    assert "left out" not in capsys.readouterr().err
    rows = [(row["algorithm"], row["epoch"]) for row in table(tmp_path / "curves.csv")]
    assert rows[:2] == [("stopped", "1"), ("stopped", "2")]
    assert [name for name, _ in rows[2:]] == ["timed"] * len(rows[2:])
    assert 2 <= len(rows[2:]) < 100


def test_of_two_runs_of_one_seed_the_newest_counts(tmp_path, capsys):
    old = write_run(tmp_path / "runs/seed_0-2", [0.25], start=START)
    new = write_run(tmp_path / "runs/seed_0", [0.75], start=START + 100)
    report(tmp_path / "runs", out=tmp_path)
    assert [row["success_rate"] for row in table(tmp_path / "curves.csv")] == ["0.75"]
    left_out = f"left out: {old} is an older run of the same task, algorithm and seed as {new}"
    assert f"{left_out}; --label tells them apart\n" in capsys.readouterr().err
    write_run(tmp_path / "runs/seed_0", [0.75], start=START + 100, model={"discount": 0.5})
    report(tmp_path / "runs", out=tmp_path)
    assert f"{left_out}, though they differ in model.discount; --label" in capsys.readouterr().err


def test_runs_of_another_length_are_left_out_of_their_group(tmp_path, capsys):
    for seed in range(2):
        write_run(tmp_path / f"runs/seed_{seed}", [0.5, 1.0], seed=seed)
    short = write_run(tmp_path / "runs/short", [0.0], seed=2)
    report(tmp_path / "runs", out=tmp_path)
    assert table(tmp_path / "summary.csv")[0]["seeds"] == "2"
    assert f"left out: {short} ends at epoch 1, the other mher runs at 2" in capsys.readouterr().err


def test_runs_averaged_over_different_settings_are_noted(tmp_path, capsys):
    for seed, discount in enumerate([0.98, 0.99]):
        write_run(tmp_path / f"runs/seed_{seed}", [0.5], seed=seed, model={"discount": discount, "seed": seed})
    report(tmp_path / "runs", out=tmp_path)
    (note,) = capsys.readouterr().err.splitlines()
    assert note.endswith("averaged though they differ in model.discount")


def test_the_same_task_with_other_arguments_is_another_task(tmp_path):
    for size in (4.0, 5.0):
        write_run(tmp_path / f"runs/{size}", [0.5], env_kwargs={"boundary_dist": size})
    report(tmp_path / "runs", out=tmp_path)
    tasks = [row["task"] for row in table(tmp_path / "summary.csv")]
    assert tasks == ["Point2DLarge-v1 (boundary_dist=4)", "Point2DLarge-v1 (boundary_dist=5)"]


def test_no_usable_run_is_the_users_mistake(tmp_path):
    write_config(tmp_path / "runs")
    with pytest.raises(UserError, match="at least one finished run"):
        report(tmp_path / "runs", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        (lambda out: out.write_text(""), "File exists"),
        (lambda out: (out / "summary.csv").mkdir(parents=True), "Is a directory"),
        (lambda out: (out / "curves.png").mkdir(parents=True), "Is a directory"),
        (lambda out: (out / "report.html").mkdir(parents=True), "Is a directory"),
    ],
)
def test_an_out_that_cannot_be_written_is_one_line(tmp_path, capsys, obstacle, reason):
    write_run(tmp_path / "runs", [0.5])
    obstacle(tmp_path / "out")
    with pytest.raises(UserError, match=rf"--out is .*out \(.*{reason}.*\); allowed: a folder") as error:
        report(tmp_path / "runs", out=tmp_path / "out")
    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that takes no new folder")
def test_an_out_that_cannot_be_created_is_refused(tmp_path):
    write_run(tmp_path / "runs", [0.5])
    with pytest.raises(UserError, match=r"--out is /proc/x \(.*No such file or directory.*\); allowed: a folder"):
        report(tmp_path / "runs", out="/proc/x")


def test_a_missing_argument_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: the following arguments are required: RUN, --out; allowed: see python -m mher_pl report --help\n"
    )


def test_reading_runs_needs_no_torch(tmp_path):
    import subprocess

    write_run(tmp_path / "runs", [0.5])
    code = "import sys; from mher_pl.compare.report import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, str(tmp_path / "runs"), "--out", str(tmp_path)]
    assert subprocess.run(command, capture_output=True).returncode == 0
