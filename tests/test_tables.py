"""The tables of the documents are those of `benchmarks/results`."""

import csv
import json
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import goal_environments
import method_figures

from mher_pl.compare.kept import read_kept
from mher_pl.compare.sweep_file import read_sweep
from tests.conftest import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def rows(document: str, header: str) -> list[list[str]]:
    """Return the cells of the table whose header begins so."""
    text = (ROOT / document).read_text()
    lines = text[text.index(header) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|--")]


def medians(folder: str, task: str, method: str = "mher") -> dict[int, float]:
    """Return a method's median success rate over its five kept seeds by epoch."""
    kept = read_kept(RESULTS / folder / "curves.csv")
    runs = [{p.epoch: p.success_rate for p in kept[f"{task}/{method}/seed_{seed}"]} for seed in range(5)]
    return {epoch: statistics.median(run[epoch] for run in runs) for epoch in runs[0]}


def test_the_learning_curves_are_those_of_the_results():
    header, *table = rows("docs/results.md", "| task | epoch 1 |")
    epochs = [int(cell.removeprefix("epoch ")) for cell in header[1:-1]]
    folders = {"`authors_arena`": "authors_arena", "`figure_02`": "paper"}
    configs = {"Point2DL": "point2d", "Point2DF": "four_room", "FetchRea": "fetch", "SawyerRe": "sawyer"}
    checked = 0
    for name, *cells, sweep in table:
        if name == "theirs":
            continue
        curve = medians(folders[sweep], configs.get(name[:8], "reacher"))
        assert [f"{curve[epoch]:.2f}" for epoch in epochs] == cells, name
        checked += 1
    assert checked == 7


def test_the_methods_are_those_of_the_results():
    page = (ROOT / "docs" / "methods.md").read_text()
    assert page.split(method_figures.BEGIN)[1].split(method_figures.END)[0] == method_figures.table()


def test_what_mapgo_learns_is_that_of_the_results():
    header, *table = rows("docs/methods/mapgo.md", "| method | Point2DLarge, epoch 5 |")
    epochs = [int(cell.split()[-1]) for cell in header[1:]]
    assert len(table) == 3
    for name, *cells in table:
        point, fetch = (medians("paper", task, name.strip("`")) for task in ("point2d", "fetch"))
        expected = [point[epoch] for epoch in epochs[:5]] + [fetch[epoch] for epoch in epochs[5:]]
        assert [f"{rate:.2f}" for rate in expected] == cells, name


def test_the_targets_are_those_of_the_benchmark():
    text = (ROOT / "docs" / "speed.md").read_text()
    assert text[text.index("| target | value |") :].split("\n\n")[0] in (RESULTS / "speed.md").read_text()


def test_the_cost_of_a_planned_action_is_that_of_the_benchmark():
    tables = (ROOT / "docs" / "methods" / "plangan.md").read_text().split("| overlay | 10^9 operations")[1:]
    for name, table in zip(("planner.md", "planner_gpu.md"), tables, strict=True):
        assert table.split("\n\n")[0] in (RESULTS / name).read_text(), name


def test_the_rates_of_updates_on_a_gpu_are_those_of_the_benchmark():
    found = json.loads((RESULTS / "gpu.json").read_text())
    table = rows("docs/speed.md", "| method | form |")[1:]
    assert table
    for method, form, *cells in table:
        rates = found[f"updates_per_second of {method.strip('`')}"][form]
        assert [f"{rate:.3g}" for rate in rates.values()] == cells, (method, form)


def test_the_speeds_of_environments_are_those_of_the_benchmark():
    text = (RESULTS / "envs.md").read_text()
    table = rows("docs/speed.md", "| task | batch |")[1:]
    assert table
    for name, *cells in table:
        (line,) = [line for line in text.splitlines() if re.match(rf"\| (mher_pl/)?{re.escape(name)}(-v\d)? \|", line)]
        written = [cell.strip() for cell in line.strip("|").split("|")]
        of_floor = "no physics" if written[3] == "-" else written[3]
        assert cells == [written[1], of_floor, written[5]], name


def test_the_speeds_of_several_environments_are_those_of_the_benchmark():
    found = json.loads((RESULTS / "num_envs.json").read_text())["steps_per_second"]
    (_, *numbers), *table = rows("docs/speed.md", "| task | 1 |")
    assert len(table) == len(found)
    for (name, *cells), (task, rates) in zip(table, found.items(), strict=True):
        assert task.startswith(name)
        assert cells == [f"{rates[number]:,.0f}" for number in numbers], name


def test_what_other_packages_tasks_do_is_that_of_the_benchmark():
    found = [row for row in json.loads((RESULTS / "goal_environments.json").read_text()) if "failed" not in row]
    assert goal_environments.table(found) in (ROOT / "docs" / "tasks.md").read_text()


def test_what_the_choices_of_reacher_bring_is_that_of_the_runs():
    rates = defaultdict(list)
    for row in csv.DictReader((RESULTS / "reacher_choices" / "curves.csv").open()):
        rates[row["algorithm"], row["epoch"]].append(float(row["success_rate"]))
    (_, *epochs), *table = rows("docs/results.md", "| what the networks see and pay |")
    epochs = [epoch.split()[-1] for epoch in epochs]
    found = [[np.quantile(rates[name, epoch], [0.5, 0.25, 0.75]) for epoch in epochs] for name in REACHER_CHOICES]
    assert [row[1:] for row in table] == [[f"{m:.2f} [{low:.2f}, {high:.2f}]" for m, low, high in row] for row in found]


def test_what_was_found_of_the_theorems_is_that_of_the_benchmark():
    text, found = (ROOT / "docs" / "theory.md").read_text(), (RESULTS / "theory.md").read_text()
    tables = [part for part in text.split("\n\n") if part.startswith("| statement")]
    assert len(tables) == 2
    assert all(table in found for table in tables)


def test_what_a_long_run_took_is_that_of_the_benchmark():
    text, found = (ROOT / "docs" / "reliability.md").read_text(), (RESULTS / "long_run.md").read_text()
    tables = [part.strip() for part in found.split("\n\n") if part.startswith("|")]
    assert len(tables) == 2
    assert all(table in text for table in tables)


def test_what_mutation_testing_found_is_that_of_the_benchmark():
    results = json.loads((RESULTS / "mutation.json").read_text())
    table = {
        name.split()[0]: (int(tried), int(caught))
        for name, tried, caught in rows("docs/reliability.md", "| group |")[1:]
    }
    assert table == {name: (group["tried"], group["caught"]) for name, group in results.items()}
    assert all(survivor["word"] for group in results.values() for survivor in group["survivors"])


def test_the_figures_have_as_many_cells_and_runs_as_their_page_says():
    kept = read_kept(RESULTS / "paper" / "curves.csv")
    header, *table = rows("docs/figures.md", "| figure |")
    assert header[-2:] == ["cells", "run so far"]
    sweeps = {path.stem: path for path in (ROOT / "configs" / "sweeps").glob("*.yaml")}
    shared = {name for name, path in sweeps.items() if read_sweep(path).out == Path("runs/paper")}
    assert {name.strip("`") for name, *_ in table} == shared
    for name, *_, cells, run in table:
        names = [cell.name for cell in read_sweep(sweeps[name.strip("`")]).cells()]
        assert (int(cells), int(run)) == (len(names), sum(cell in kept for cell in names)), name


def test_what_the_policies_of_the_package_do_and_what_whole_runs_cost_is_that_of_the_benchmark():
    found = (RESULTS / "policies.md").read_text()
    for document, header in (("policies.md", "| `load_policy` |"), ("speed.md", "| task | mher |")):
        text = (ROOT / "docs" / document).read_text()
        assert text[text.index(header) :].split("\n\n")[0] in found, document


def test_what_the_example_of_a_search_found_is_that_of_its_tables():
    def found(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((RESULTS / "tune" / name).open()))

    complete = [row for row in found("trials.csv") if row["state"] == "complete"]
    complete.sort(key=lambda row: -float(row["area_under_curve"]))
    digits = {"model.imitation_weight": 1, "model.relabel.steps": 0, "area_under_curve": 3}
    best = [[row["trial"], *(f"{float(row[key]):.{n}f}" for key, n in digits.items())] for row in complete]
    assert rows("docs/tutorials/tuning.md", "| trial |")[1:] == best
    confirmed = [
        [f"{area:.3f} [{low:.3f}, {high:.3f}]", f"{final:.2f}"]
        for area, low, high, final in (
            [float(row[key]) for key in ("area_under_curve", "area_low", "area_high", "median_final_success")]
            for row in found("summary.csv")
        )
    ]
    assert [row[1:] for row in rows("docs/tutorials/tuning.md", "| settings |")[1:]] == confirmed


REACHER_CHOICES = ["as_program", "penalty_1", "mher"]  # in the order of their table
WITHOUT = {  # what the table of its ablation calls each method of the runs
    "mher_plus": "`mher_plus`",
    "her_plus": "model, value expansion, imitation and goals of other rows: `her_plus`",
    "given_goals": "going on to other goals",
    "no_other_goals": "goals of other rows",
    "one_step": "value expansion",
    "actor_acts": "acting with the target actor",
    "no_imitation": "imitation",
    "absolute_goals": "relative goals",
    "mher_ratio": "all but the updates: MHER with one a step",
}


def test_what_each_choice_of_mher_plus_brings_is_that_of_the_runs():
    def curves(folder: str) -> dict[str, dict[str, dict[int, float]]]:
        """Return success rates by method, seed and step."""
        found: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        for row in csv.DictReader((RESULTS / "plus" / folder / "curves.csv").open()):
            found[row["algorithm"]][row["seed"]][int(row["env_steps"])] = float(row["success_rate"])
        return found

    for task, place in (("reacher", 1), ("four_room_4", 3)):
        runs = curves(f"{task}_ablation")
        steps = sorted(runs["her_plus"]["2000"])
        found = {}
        for method, seeds in {"mher_plus": curves(task)["mher_plus"], **runs}.items():
            assert len(seeds) == 5
            means = sorted(statistics.fmean(rates[step] for step in steps) for rates in seeds.values())
            last = statistics.median(rates[steps[-1]] for rates in seeds.values())
            found[WITHOUT[method]] = [f"{means[2]:.2f} [{means[0]:.2f}, {means[-1]:.2f}]", f"{last:.2f}"]
        table = rows("docs/mher_plus.md", "| without |")[1:]
        assert {row[0]: row[place : place + 2] for row in table} == found


def test_what_her_mixed_learns_is_that_of_the_runs():
    text = (ROOT / "docs" / "methods" / "her_mixed.md").read_text()
    means = defaultdict(list)
    for cell, curve in read_kept(RESULTS / "her_mixed" / "curves.csv").items():
        means[cell.split("/")[1]].append(statistics.fmean(point.success_rate for point in curve[-10:]))
    for method, words in (("her_mixed", "the mean is"), ("her", "HER's")):
        own = sorted(means[method])
        assert f"{words} {own[2]:.2f} [{own[0]:.2f}, {own[-1]:.2f}]" in " ".join(text.split())


def test_what_is_learned_of_the_door_is_that_of_the_runs():
    kept = read_kept(RESULTS / "door" / "curves.csv")
    text = " ".join((ROOT / "docs" / "tasks.md").read_text().split())
    names = {
        "HER": "her",
        "MHER": "mher",
        "without imitation": "no_sl",
        "without model-based goals in the RL losses": "no_mbr",
    }
    for name, method in names.items():
        runs = [kept[f"door/{method}/seed_{seed}"] for seed in range(3)]
        means = sorted(statistics.fmean(point.success_rate for point in run[-5:]) for run in runs)
        assert f"{name} {', '.join(f'{mean:.2f}' for mean in means)}" in text
    assert f"30 epochs, {kept['door/mher/seed_0'][-1].env_steps:,} steps" in text


@pytest.mark.parametrize(
    ("method", "header"), [("push/mher_relay", "| steps | 3,500"), ("pick_and_place/mher_grasp", "| steps | 2,500")]
)
def test_what_is_learned_of_manipulation_is_that_of_the_runs(method, header):
    kept = read_kept(RESULTS / "manipulation" / "curves.csv")
    kept = {name: curve for name, curve in kept.items() if name.startswith(f"{method}/")}
    (_, *steps), *table = rows("docs/manipulation.md", header)
    assert [name for name, *_ in table] == [cell.split("/")[-1].replace("_", " ") for cell in kept]
    for (name, *cells), curve in zip(table, kept.values(), strict=True):
        rates = {f"{point.env_steps:,}": f"{point.success_rate:.2f}" for point in curve}
        assert cells == [rates[step] for step in steps], name


def test_what_is_learned_of_slide_is_that_of_the_runs():
    kept = read_kept(RESULTS / "manipulation" / "curves.csv")
    sweep = read_sweep(ROOT / "configs" / "sweeps" / "slide.yaml")
    (panel,) = sweep.panels.values()
    (_, _, *steps, _), *table = rows("docs/manipulation.md", "| curve | seed |")
    found = []
    for label, method in panel.curves.items():
        for seed in sweep.seeds:
            if curve := kept.get("/".join(sweep.folder(panel.task, method, seed).parts[-3:])):
                rates = {f"{point.env_steps:,}": point.success_rate for point in curve}
                mean = statistics.mean(rates.values())
                found.append([label, str(seed), *(f"{rates[step]:.2f}" for step in steps), f"{mean:.2f}"])
    assert table == found


def test_what_mher_relay_learns_on_another_arm_is_that_of_the_runs():
    kept = read_kept(RESULTS / "panda_push" / "curves.csv")
    (_, *epochs), (_, *steps), *table = rows("docs/manipulation.md", "| epoch | 1")
    own = {name: curve for name, curve in kept.items() if name.startswith("push/mher_relay/")}
    curves = {name.split("/")[-1].replace("_", " "): {p.epoch: p for p in curve} for name, curve in own.items()}
    taken = [statistics.mean(curve[int(epoch)].env_steps for curve in curves.values()) for epoch in epochs]
    assert steps == [f"{round(mean):,}" for mean in taken]
    assert [name for name, *_ in table] == list(curves)
    for name, *cells in table:
        assert cells == [f"{curves[name][int(epoch)].success_rate:.2f}" for epoch in epochs], name


def test_what_is_learned_there_without_each_part_is_that_of_the_runs():
    kept = read_kept(RESULTS / "panda_push" / "curves.csv")
    sweep = read_sweep(ROOT / "configs" / "sweeps" / "panda_push.yaml")
    (panel,) = sweep.panels.values()
    (_, _, _, *epochs, _), *table = rows("docs/manipulation.md", "| curve | seeds | steps")
    found = []
    for label, method in panel.curves.items():
        names = ["/".join(sweep.folder(panel.task, method, seed).parts[-3:]) for seed in sweep.seeds]
        if curves := [kept[name] for name in names if name in kept]:
            steps = f"{round(statistics.mean(curve[-1].env_steps for curve in curves)):,}"
            medians = [
                statistics.median(curve[int(epoch.split()[-1]) - 1].success_rate for curve in curves)
                for epoch in epochs
            ]
            means = [statistics.mean(point.success_rate for point in curve) for curve in curves]
            mean = f"{statistics.median(means):.2f} [{min(means):.2f}, {max(means):.2f}]"
            found.append([label, str(len(curves)), steps, *(f"{median:.2f}" for median in medians), mean])
    assert table == found


def test_the_trials_of_pick_and_place_are_those_that_were_kept():
    kept = read_kept(RESULTS / "manipulation" / "pick_and_place_trials.csv")
    (_, _, *steps), *table = rows("docs/manipulation_trials.md", "| trial | seed |")
    assert [f"pick_and_place/{name}/seed_{seed}" for name, seed, *_ in table] == list(kept)
    for (name, seed, *cells), curve in zip(table, kept.values(), strict=True):
        rates = {f"{point.env_steps:,}": f"{point.success_rate:.2f}" for point in curve}
        assert cells == [rates.get(step, "") for step in steps], (name, seed)


@pytest.mark.parametrize(
    ("name", "header"), [("push", "| curve | seeds | 5,500"), ("pick_and_place", "| curve | seeds | 8,500")]
)
def test_what_each_part_of_the_overlays_for_manipulation_brings_is_that_of_the_runs(name, header):
    kept = read_kept(RESULTS / "manipulation" / "curves.csv")
    sweep = read_sweep(ROOT / "configs" / "sweeps" / f"{name}.yaml")
    (panel,) = sweep.panels.values()
    (_, _, *steps, _), *table = rows("docs/manipulation.md", header)
    found = []
    for label, method in panel.curves.items():
        names = ["/".join(sweep.folder(panel.task, method, seed).parts[-3:]) for seed in sweep.seeds]
        if curves := [kept[name] for name in names if name in kept]:
            rates = [{f"{point.env_steps:,}": point.success_rate for point in curve} for curve in curves]
            medians = [f"{statistics.median(rate[step] for rate in rates):.2f}" for step in steps]
            means = [statistics.mean(rate.values()) for rate in rates]
            mean = f"{statistics.median(means):.2f} [{min(means):.2f}, {max(means):.2f}]"
            found.append([label, str(len(curves)), *medians, mean])
    assert table == found


def test_how_far_the_model_of_a_manipulation_task_is_off_is_that_of_the_benchmark():
    found = json.loads((RESULTS / "manipulation" / "model_error.json").read_text())
    stays = 'object, predicted not to move ("said to stay" in the figure)'
    judged = {"gripper": "gripper", "object": "object", stays: "object, said to stay"}
    table = rows("docs/manipulation.md", "| | 1 step |")[1:]
    assert len(table) == 5
    for name, *cells in table:
        kind, _, what = name.partition(": ")
        errors = found[kind][judged[what]]
        assert [float(cell) for cell in cells] == [
            pytest.approx(errors[step], rel=0.05, abs=0.05) for step in ("1", "3", "5", "10")
        ], name
