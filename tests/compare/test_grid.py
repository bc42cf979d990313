import signal
from pathlib import Path

import pytest
import yaml
from fake_sweeps import attempts, behave, grid_file, log_says, start_sweep, wait_until, write

from mher_pl.compare import sweep
from mher_pl.compare.grid import Method
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import UserError
from mher_pl.storage.configs import SHIPPED


def test_two_configs_of_one_task_are_refused(workspace):
    for name in ("mine", "mine_too"):
        write(f"configs/{name}.yaml", data={"env": "Cart-v0"})
    with pytest.raises(UserError, match=r"mine.yaml and .*mine_too.yaml, both of the task Cart-v0; allowed: one of "):
        sweep.main([grid_file(tasks=["mine", "mine_too"])])
    for data in (3, {"env": 3}, {"env": "Cart-v0", "env_kwargs": [1]}):  # which the check of settings refuses
        write("configs/mine.yaml", data=data)
        read_sweep(Path(grid_file(tasks=["mine", "mine_too"])))


def test_two_algorithms_of_one_name_are_refused(workspace):
    write("configs/algorithms/other.yaml", algorithm="her")
    with pytest.raises(UserError, match=r"her.yaml and .*other.yaml, in both of which algorithm is her; allowed: a na"):
        sweep.main([grid_file(algorithms=["her", "other"])])


def test_a_part_with_arguments_names_a_folder_by_its_class_and_their_values():
    part = [{"class_path": "Future", "init_args": {"ratio": 0.7}}, {"class_path": "OtherGoals"}]
    method = Method(Path("her.yaml"), {"model.relabel.relabellers": part, "model.dynamics": None})
    assert method.name == "her-relabellers-Future_ratio_0.7_OtherGoals-dynamics-null"


def test_long_values_name_folders_that_are_short_and_differ():
    names = {Method(Path("her.yaml"), {"model.sizes": [*range(200), end]}).name for end in (1, 2)}
    assert len(names) == 2
    assert {len(name) for name in names} == {100}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"task": ["one"]},
            "has the key 'task'; allowed: tasks, algorithms, seeds, jobs, out, overrides, grid",
        ),
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
        (
            {"overrides": {"trainer": {"default_root_dir": "runs"}}},
            "overrides has trainer.default_root_dir, which the sweep sets for each cell; allowed: any other",
        ),
        (
            {"grid": {"data": [{"batch_size": 8}, {"batch_size": 9}]}, "overrides": {"data.batch_size": 7}},
            "grid has data.batch_size, which overrides has too; allowed: one of the two",
        ),
        ({"grid": ["a"]}, r"grid is \['a'\]; allowed: dotted settings with lists of values"),
        ({"grid": {"a": 1}}, "grid is {'a': 1}; allowed: dotted settings with lists of values"),
        ({"grid": {"a": []}}, r"grid is {'a': \[\]}; allowed: dotted settings with lists of values"),
        ({"grid": {"algorithm": ["a"]}}, "grid has algorithm, which the sweep sets for each cell"),
        ({"grid": {"a": [1]}, "overrides": {"a": 2}}, "grid has a, which overrides has too; allowed: one of the two"),
        ({"grid": {"a": [1, 1]}}, r"grid has a: \[1, 1\]; allowed: values that differ"),
        ({"grid": {"a.lr": [1], "b.lr": [2]}}, "grid has a.lr, b.lr; allowed: settings whose last words differ"),
        ({"trials": 5}, "trials is 5, where there is no search; allowed: with the key search"),
        ({"prune_from": "x"}, "prune_from is 'x', where there is no search; allowed: with the key search"),
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
    with pytest.raises(UserError, match=r"SWEEP is 's\.yaml'[;,]"):
        sweep.main(["s.yaml"])


@pytest.mark.parametrize("text", ["a: [secret", "a: 2024-13-01", b"\xff\xfe"])
def test_a_config_file_that_is_no_yaml_is_refused_before_any_cell_runs(workspace, text):
    Path("configs/one.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"tasks is 'configs/one\.yaml', no YAML") as error:
        sweep.main([grid_file()])
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


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
        wait_until(lambda: log_says("waiting"))
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    write(path, **content | {"model": {"discount": 0.5}})
    message = rf"out holds out/one/mher/seed_0, run with other settings in {path} than there are now; allowed: the same"
    with pytest.raises(UserError, match=message):
        sweep.main([grid_file(seeds=2, overrides={"behave": ended})])
    assert not Path("out/one/mher/seed_1").exists()


def test_the_same_settings_from_another_path_are_the_same_and_what_a_fit_prints_is_no_start(workspace):
    assert sweep.main([grid_file()]) == 0
    write("other/one.yaml", **yaml.safe_load(Path("configs/one.yaml").read_text()))
    with Path("out/one/mher/seed_0/fit.log").open("a") as log:
        log.write("$ 12\n$ echo 'a # b\n")
    assert sweep.main([grid_file(tasks=["other/one.yaml"])]) == 0
    assert len([line for line in attempts("one/mher/seed_0") if "fake_fit" in line]) == 1


def test_an_edited_comment_or_order_of_keys_is_no_other_setting(workspace):
    write("configs/one.yaml", env="mher_pl/One-v1", model={"discount": 0.98})
    assert sweep.main([grid_file()]) == 0
    Path("configs/one.yaml").write_text("# the first task\nmodel:\n  discount: 0.98  # gamma\nenv: mher_pl/One-v1\n")
    assert sweep.main([grid_file(seeds=2)]) == 0
    assert [len(attempts(f"one/mher/seed_{seed}")) for seed in range(2)] == [1, 1]


def test_a_config_file_edited_while_the_sweep_runs_fails_the_cells_that_would_differ(workspace):
    behave(seed_0="wait")
    process = start_sweep(grid_file(seeds=2))
    wait_until(lambda: log_says("waiting"))
    write("configs/one.yaml", env="mher_pl/One-v1", model={"discount": 0.5})
    Path("go").touch()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "[1/2] finished  one/mher/seed_0" in out
    assert "failed: one/mher/seed_1  configs/one.yaml was edited while the sweep ran; allowed: the settings" in out
    assert not Path("out/one/mher/seed_1").exists()
