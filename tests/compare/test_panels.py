import csv
import multiprocessing
from math import nan
from pathlib import Path

import pytest
from fake_sweeps import attempts, behave, grid_file, write

from mher_pl.compare import sweep
from mher_pl.compare.kept import add_kept, read_kept
from mher_pl.compare.panels import common_epochs
from mher_pl.compare.runs import CurvePoint
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import UserError

PANELS = {
    "one": {"task": "one", "curves": ["mher", "her"]},
    "two": {"task": "one", "curves": {"n = 0": {"mher": {"trainer.max_epochs": 3}}, "n = 5": "mher"}},
}


def panels_file(panels=PANELS, **content):
    return grid_file(tasks=None, algorithms=None, panels=panels, **content)


def test_what_two_panels_show_runs_once_and_is_drawn(workspace, capsys):
    assert sweep.main([panels_file(seeds=2)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 cells in out: 0 finished, 6 to run, 1 at once"
    assert lines[-1] == "drawn: out/grid.png"
    assert Path("out/grid.png").stat().st_size > 10_000
    folders = sorted(str(path.parent.relative_to("out/one")) for path in Path("out").rglob("fit.log"))
    assert folders == [f"{name}/seed_{seed}" for name in ("her", "mher-max_epochs-3", "mher") for seed in (0, 1)]
    assert "--trainer.max_epochs=3" in attempts("one/mher-max_epochs-3/seed_0")[0]


def test_two_sweeps_with_one_folder_share_their_cells(workspace, capsys):
    assert sweep.main([panels_file()]) == 0
    panels = {"again": {"task": "one", "curves": {"a": "her", "b": {"mher": {"trainer.max_epochs": 4}}}}}
    capsys.readouterr()
    assert sweep.main([panels_file(panels)]) == 0
    assert capsys.readouterr().out.startswith("2 cells in out: 1 finished, 1 to run")


def test_kept_runs_are_drawn_and_not_run_again(workspace, capsys):
    assert sweep.main([panels_file(seeds=2, out="before"), "--kept", "kept/curves.csv"]) == 0
    with open("kept/curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    run = read_sweep(Path("configs/sweeps/grid.yaml")).cells()[0].finished_run()
    mine = [row for row in rows if (row["algorithm"], row["seed"]) == ("mher", "0")]
    assert [(int(row["epoch"]), int(row["env_steps"])) for row in mine] == [(p.epoch, p.env_steps) for p in run.curve]
    assert [float(row["value"]) for row in mine] == pytest.approx([point.success_rate for point in run.curve])
    assert {row["task"] for row in rows} == {"one"}

    before = Path("kept/curves.csv").read_text()
    capsys.readouterr()
    assert sweep.main([panels_file(seeds=3, out="after"), "--kept", "kept/curves.csv"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("9 cells in after: 6 finished, 3 to run")
    assert "drawn: kept/grid.png" in out
    after = Path("kept/curves.csv").read_text()
    assert set(before.splitlines()) < set(after.splitlines())
    assert len(read_kept(Path("kept/curves.csv"))) == 9


def test_what_another_sweep_added_to_the_kept_runs_meanwhile_stays(workspace, monkeypatch):
    collect_curves = sweep.collect_curves

    def collect(*arguments):
        add_kept(Path("kept.csv"), {"two/mher/seed_7": [CurvePoint(1, 100, 0.5, nan)]})
        return collect_curves(*arguments)

    monkeypatch.setattr("mher_pl.compare.sweep.collect_curves", collect)
    assert sweep.main([panels_file(), "--kept", "kept.csv"]) == 0
    kept = read_kept(Path("kept.csv"))
    assert len(kept) == 4
    assert kept["two/mher/seed_7"][0].success_rate == 0.5
    assert not list(Path().glob(".kept.csv*.part"))


def test_a_home_folder_in_the_path_of_the_kept_runs_is_found(workspace, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(workspace / "home"))
    add_kept(workspace / "home/kept.csv", {"one/her/seed_0": [CurvePoint(1, 100, 0.5, nan)]})
    assert sweep.main([panels_file(), "--kept=~/kept.csv", "--draw"]) == 0
    assert "3 cells in out: 1 finished" in capsys.readouterr().out


def test_where_all_cells_fail_that_is_what_is_said(workspace, capsys):
    behave(seed_0="fail")
    assert sweep.main([panels_file()]) == 1
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["failed:"] * 3


def test_two_processes_that_add_to_the_kept_runs_lose_none_of_each_other(workspace):
    def add(first: int) -> None:
        for seed in range(first, first + 30):
            add_kept(Path("kept.csv"), {f"one/mher/seed_{seed}": [CurvePoint(1, 100, 0.5, nan)]})

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add, args=(first,)) for first in (0, 100)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(read_kept(Path("kept.csv"))) == 60


def test_seeds_that_ran_longer_than_others_are_drawn_as_far_as_all_go(workspace, capsys):
    kept = {f"one/{method}/seed_0": [CurvePoint(1, 100, 0.5, nan)] for method in ("mher", "her", "mher-max_epochs-3")}
    add_kept(Path("kept.csv"), kept)
    assert sweep.main([panels_file(seeds=2), "--kept", "kept.csv"]) == 0
    assert capsys.readouterr().out.endswith("drawn: grid.png\n")
    assert len(read_kept(Path("kept.csv"))["one/her/seed_1"]) > 1, "the table has all of it"
    curves = read_kept(Path("kept.csv"))
    epochs, rates = common_epochs([curves["one/her/seed_0"], curves["one/her/seed_1"]])
    assert (epochs, rates.shape) == ([1], (2, 1))


def test_seeds_without_an_epoch_in_common_are_one_line(workspace):
    add_kept(Path("kept.csv"), {"one/mher/seed_0": [CurvePoint(99, 100, 0.5, nan)]})
    with pytest.raises(UserError, match="one/mher/seed_0 and its other seeds have no epoch in common; allowed: seeds"):
        sweep.main([panels_file(seeds=2), "--kept", "kept.csv"])
    assert len(read_kept(Path("kept.csv"))) == 6, "what has run is not lost"


def test_a_table_that_could_not_be_written_is_refused_before_anything_runs(workspace):
    with pytest.raises(UserError, match="--kept's folder is '/proc/nowhere'; allowed: a folder that can be written"):
        sweep.main([panels_file(), "--kept", "/proc/nowhere/kept.csv"])
    assert not list(Path("out").rglob("fit.log"))


def test_draw_runs_nothing_and_says_how_much_is_missing(workspace, capsys):
    assert sweep.main([panels_file()]) == 0
    capsys.readouterr()
    assert sweep.main([panels_file(seeds=3), "--draw"]) == 0
    assert capsys.readouterr().out.endswith("drawn: out/grid.png, without 6 cells that have not run\n")
    assert len(list(Path("out").rglob("fit.log"))) == 3
    with pytest.raises(UserError, match="out is none; allowed: a folder with at least one finished cell"):
        sweep.main([panels_file(out="none"), "--draw"])


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        (["one"], r"panels is \['one'\]; allowed: titles"),
        ({}, "panels is {}; allowed: titles"),
        ({"a": {"task": "one"}}, "panels.a is {'task': 'one'}; allowed: the keys task and curves"),
        ({"a": {"task": "three", "curves": ["her"]}}, "panels.a.task is 'three'; allowed: a YAML file, or"),
        (
            {"a": {"task": "one", "curves": []}},
            r"panels.a.curves is {}; allowed: a list of algorithms, or labels with one each",
        ),
        ({"a": {"task": "one", "curves": {"b": 3}}}, "panels.a.curves.b is 3; allowed: an algorithm, or with"),
        ({"a": {"task": "one", "curves": ["none"]}}, "panels.a.curves.none is 'none'; allowed: a YAML file, or"),
        (
            {"a": {"task": "one", "curves": {"b": {"her": {"algorithm": "c"}}}}},
            "panels.a.curves.b has algorithm, which",
        ),
    ],
)
def test_a_mistake_in_the_panels_is_one_line(workspace, panels, message):
    with pytest.raises(UserError, match=message) as error:
        sweep.main([panels_file(panels)])
    assert "\n" not in str(error.value)


def test_files_of_one_name_are_refused_for_they_would_share_folders(workspace):
    write("other/her.yaml", algorithm="her")
    panels = {"a": {"task": "one", "curves": {"b": "her", "c": "other/her.yaml"}}}
    with pytest.raises(UserError, match="has two of one/her; allowed: different names, for the folders"):
        sweep.main([panels_file(panels)])


def test_what_is_finished_is_drawn_where_other_cells_failed(workspace, capsys):
    behave(seed_1="fail")
    assert sweep.main([panels_file(seeds=2), "--kept", "kept.csv"]) == 1
    assert "drawn: grid.png, without 3 cells that have not run" in capsys.readouterr().out
    assert len(read_kept(Path("kept.csv"))) == 3


def test_panels_and_a_grid_are_two_kinds_of_sweeps(workspace):
    with pytest.raises(UserError, match="has the keys panels and tasks; allowed: panels, or tasks, algorithms, grid"):
        sweep.main([grid_file(panels=PANELS)])
    for option in (["--draw"], ["--kept", "a.csv"]):
        with pytest.raises(UserError, match="has no panels; allowed: with a sweep that has some"):
            sweep.main([grid_file(), *option])


def test_a_table_that_is_none_is_refused_before_anything_runs(workspace):
    Path("kept.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"--kept is kept.csv .*; allowed: a CSV file, with columns task, algorithm"):
        sweep.main([panels_file(), "--kept", "kept.csv"])
    assert not Path("out").exists()


@pytest.mark.parametrize("row", ["one,her,x", ",her,0", "one,,0", "one,a/her,0"])
def test_a_row_of_the_table_that_names_no_cell_is_refused_before_anything_runs(workspace, row):
    Path("kept.csv").write_text(
        f"task,algorithm,seed,epoch,env_steps,metric,value\n{row},1,100,eval/success_rate,0.5\n"
    )
    with pytest.raises(UserError, match=r"--kept is kept.csv \(ValueError: .*\); allowed: a CSV file, with columns"):
        sweep.main([panels_file(), "--kept", "kept.csv"])
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "setting"), [([], "out is out"), (["--kept", "kept/a.csv"], "--kept is kept/a.csv")]
)
def test_a_figure_that_cannot_be_written_is_named_with_the_setting_of_its_folder(workspace, options, setting):
    for folder in ("out", "kept"):
        Path(folder, "grid.png").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"{setting}, but the figure \w+/grid.png cannot be written \(Is a dir"):
        sweep.main([panels_file(), *options])
