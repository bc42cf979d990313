import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from trained_runs import ROOT, fit, run_folder

import mher_pl
from mher_pl.__main__ import main
from mher_pl.errors import UserError
from mher_pl.policy import save_policy, shipped_policies
from mher_pl.run.api import load
from mher_pl.storage.checkpoint import write_checkpoint

N = 5


def small_run(root: Path, act_with_target: bool) -> Path:
    assert fit(root, f"--model.act_with_target={act_with_target}", config="reacher", epochs=2) == 0
    return run_folder(root, config="Reacher-v1")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return small_run(tmp_path_factory.mktemp("run"), act_with_target=False)


@pytest.fixture(scope="module", params=[False, True], ids=["actor", "target actor"])
def either_run(run, tmp_path_factory, request) -> Path:
    return small_run(tmp_path_factory.mktemp("run"), act_with_target=True) if request.param else run


@pytest.fixture(scope="module")
def observations() -> dict[str, np.ndarray]:
    envs = mher_pl.make_vec("mher_pl/Reacher-v1", num_envs=N)
    observations, _ = envs.reset(seed=0)
    envs.close()
    return observations


def test_it_acts_as_the_agent_that_was_trained(either_run, observations, tmp_path):
    cli = load(str(either_run / "config.yaml"), **{"trainer.default_root_dir": tmp_path})
    cli.model.configure_model()
    checkpoint = torch.load(either_run / "checkpoints" / "last.ckpt", weights_only=True)
    cli.model.load_state_dict(checkpoint["state_dict"])
    state, goal = (torch.as_tensor(observations[key]).float() for key in ("observation", "desired_goal"))
    expected = cli.model.act(state, goal)
    assert expected.std(dim=0).min() > 0
    assert torch.equal(mher_pl.load_policy(either_run)(state, goal), expected)


def test_only_the_goal_it_is_given_counts_where_the_observation_shows_another(run, observations):
    policy = mher_pl.load_policy(run)
    state, goal = observations["observation"], observations["desired_goal"]
    other = state.copy()
    other[:, 4:6] = -state[:, 4:6]  # Reacher's own target
    assert np.array_equal(policy(other, goal), policy(state, goal))
    assert not np.array_equal(policy(state, -goal), policy(state, goal))


def test_arrays_tensors_dicts_and_single_observations_give_the_same_actions(run, observations):
    policy = mher_pl.load_policy(run / "checkpoints" / "last.ckpt")
    actions = policy(observations)
    assert isinstance(actions, np.ndarray)
    assert actions.shape == (N, 2)
    state, goal = observations["observation"], observations["desired_goal"]
    assert np.array_equal(policy(state, goal), actions)
    from_tensors = policy(torch.as_tensor(state), torch.as_tensor(goal))
    assert isinstance(from_tensors, torch.Tensor)
    assert np.array_equal(from_tensors.numpy(), actions)
    assert np.allclose(policy(state[0], goal[0]), actions[0], atol=1e-6)
    assert np.array_equal(policy(state[0].tolist(), goal[0].tolist()), policy(state[0], goal[0]))


def test_it_drives_the_environment(run):
    policy, env = mher_pl.load_policy(run), mher_pl.make("mher_pl/Reacher-v1")
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        action = policy(observation)
        assert env.action_space.contains(action)
        observation, *_ = env.step(action)
    env.close()


def test_a_goal_beside_a_dict_is_the_one_that_counts(run, observations):
    policy, goal = mher_pl.load_policy(run), -observations["desired_goal"]
    assert np.array_equal(policy(observations, goal), policy(observations["observation"], goal))
    assert not np.array_equal(policy(observations, goal), policy(observations))


def test_its_actions_may_be_a_target_to_learn_from(run, observations):
    state, goal = (torch.as_tensor(observations[key]).float() for key in ("observation", "desired_goal"))
    student = torch.nn.Linear(state.shape[-1], 2)
    torch.nn.functional.mse_loss(student(state), mher_pl.load_policy(run)(state, goal)).backward()
    assert student.weight.grad.any()


def test_a_file_that_load_policy_could_not_read_is_not_written(run, tmp_path):
    with pytest.raises(UserError, match=r"path is '.*policy\.bin'; allowed: a name that ends in \.safetensors"):
        save_policy(mher_pl.load_policy(run), tmp_path / "policy.bin")
    assert not list(tmp_path.iterdir())


def test_wrong_inputs_are_named(run, observations):
    policy = mher_pl.load_policy(run)
    with pytest.raises(UserError, match=r"observation has shape \[3\]; allowed for mher_pl/Reacher-v1: \[..., 11\]"):
        policy(np.zeros(3), np.zeros(2))
    with pytest.raises(UserError, match=r"observation has shape \[4, 11\] and goal \[2\]; allowed: as many goals as"):
        policy(np.zeros((4, 11)), np.zeros(2))
    with pytest.raises(UserError, match="goal is None"):
        policy(observations["observation"])
    with pytest.raises(UserError, match="observation is None"):
        policy({"desired_goal": np.zeros(2)})


def test_a_device_that_is_not_there_is_named(run):
    with pytest.raises(UserError, match=r"device is 'gpu' \(.+\); allowed: cpu, or cuda"):
        mher_pl.load_policy(run, device="gpu")


def test_an_evaluation_of_no_episodes_is_refused(run):
    with pytest.raises(UserError, match="episodes is 0; allowed: an integer of at least 1"):
        mher_pl.load_policy(run).evaluate(0)


def test_paths_without_a_policy_are_named(tmp_path, run):
    with pytest.raises(UserError, match=r"a folder without checkpoints/last\.ckpt; allowed"):
        mher_pl.load_policy(tmp_path)
    torch.save({"a": 1}, tmp_path / "foreign.ckpt")
    with pytest.raises(UserError, match="no checkpoint of mher_pl"):
        mher_pl.load_policy(tmp_path / "foreign.ckpt")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: weights[name] for name in weights if not name.startswith("actor")}
    write_checkpoint(checkpoint, tmp_path / "none.ckpt")
    with pytest.raises(UserError, match="holds no actor; allowed"):
        mher_pl.load_policy(tmp_path / "none.ckpt")
    checkpoint["agent"]["acting_class"] = "my_agent.Swish"  # whose layers may have the same names
    write_checkpoint(checkpoint | {"state_dict": weights}, tmp_path / "own.ckpt")
    with pytest.raises(UserError, match=r"holds no actor of mher_pl, but as actor\w* a my_agent\.Swish; allowed"):
        mher_pl.load_policy(tmp_path / "own.ckpt")


def test_a_big_replay_takes_no_memory(tmp_path, run):
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["replay"] = torch.zeros(50_000_000)
    write_checkpoint(checkpoint, tmp_path / "big.ckpt")
    before = bytes_held()
    policy = mher_pl.load_policy(tmp_path / "big.ckpt")
    assert policy.env == "mher_pl/Reacher-v1"
    assert bytes_held() - before < 20_000_000  # the replay alone is 200,000,000


def bytes_held() -> int:
    """Bytes of memory that this process holds: of a mapped file, what was read of it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_exported_program_runs_without_this_package_on_any_batch(tmp_path, either_run, observations, capsys):
    out = tmp_path / "policy.pt2"
    assert main(["export", str(either_run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: mher_pl/Reacher-v1, observation [B, 11], goal [B, 2]\n"
    state, goal = (torch.as_tensor(observations[key]).float() for key in ("observation", "desired_goal"))
    torch.save((state, goal), tmp_path / "inputs.pt")
    code = (
        "import sys, torch\n"
        "sys.modules['mher_pl'] = sys.modules['callbacks'] = None\n"
        "state, goal = torch.load('inputs.pt')\n"
        "program = torch.export.load('policy.pt2').module()\n"
        "actions = program(state, goal)\n"
        "assert torch.allclose(program(state[:1], goal[:1])[0], actions[0], atol=1e-6)\n"
        "assert program(state.repeat(100, 1), goal.repeat(100, 1)).shape == (500, 2)\n"
        "torch.save(actions, 'actions.pt')\n"
    )
    subprocess.check_call([sys.executable, "-c", code], cwd=tmp_path)
    assert torch.allclose(torch.load(tmp_path / "actions.pt"), mher_pl.load_policy(either_run)(state, goal), atol=1e-6)


def test_export_ends_with_one_line_after_a_mistake(tmp_path, run, capsys):
    assert main(["export", str(tmp_path / "nowhere")]) == 1
    assert "which does not exist" in capsys.readouterr().err
    assert main(["export", str(run), "--out", str(tmp_path / "policy.onnx")]) == 1
    assert "policy.onnx'; allowed: a name that ends in .pt2 or .safetensors" in capsys.readouterr().err
    assert main(["export", str(run), "--out", str(run / "config.yaml" / "policy.pt2")]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: --out is ")
    assert errors.count("\n") == 1
    with pytest.raises(SystemExit) as stop:
        main(["export"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: the following arguments are required: CKPT")


def test_a_policy_alone_acts_and_is_described_as_the_run_is(tmp_path, either_run, observations):
    file = tmp_path / "a.safetensors"
    assert main(["export", str(either_run), "--out", str(file)]) == 0
    alone, policy = mher_pl.load_policy(file), mher_pl.load_policy(either_run)
    assert np.array_equal(alone(observations), policy(observations))
    assert alone.description == policy.description
    assert file.stat().st_size < 20_000  # none of the critic, the replay and the optimisers


def test_what_is_no_policy_alone_is_refused(tmp_path, run):
    file = tmp_path / "a.safetensors"
    save_policy(mher_pl.load_policy(run), file)
    content = file.read_bytes()
    weights = safetensors.torch.load(content)
    described = [{"mher_pl": text} for text in ("{", "{}", "[]", '{"format": 1, "version": "0", "policy": {}}')]
    others = [safetensors.torch.save(weights, metadata) for metadata in ({"format": "pt"}, *described)]
    with safetensors.safe_open(file, "pt") as opened:
        smaller = safetensors.torch.save({name: value[:1] for name, value in weights.items()}, opened.metadata())
    for damaged in (b"", content[:-100], b"x" * 1000, *others, smaller):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.safetensors is damaged or holds no policy of mher_pl"):
            mher_pl.load_policy(file)
    file.write_bytes(content.replace(b'{\\"format\\": 1', b'{\\"format\\": 2'))
    with pytest.raises(UserError, match=r"was written by mher_pl \S+, in another form; allowed: form 1"):
        mher_pl.load_policy(file)


def test_it_is_evaluated_on_the_episodes_of_test(run, capsys):
    assert main(["test", str(run), "--evaluation.episodes", "8"]) == 0
    printed = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:])
    measured = mher_pl.load_policy(run).evaluate(8).means()
    for name in ("success_any", "return", "final_distance"):
        assert printed[name] == f"{measured[f'eval/{name}']:.3f}"


def results() -> dict[str, dict[str, str]]:
    """What each policy of the package does in 500 episodes."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "policies.json").read_text())["policies"]
    return {name.strip("`"): row for name, row in rows.items()}


@pytest.mark.parametrize(("name", "row"), results().items())
def test_a_policy_of_the_package_does_what_was_measured(name, row):
    rate = mher_pl.load_policy(name).evaluate(20, seed=1).success.mean()
    assert rate == pytest.approx(float(row["success in 500 episodes"]), abs=0.25)


def test_every_policy_of_the_package_was_measured_and_all_are_small():
    assert list(shipped_policies()) == sorted(results())
    assert sum(file.stat().st_size for file in shipped_policies().values()) < 8_000_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_acts_on_a_gpu(run, observations):
    actions = mher_pl.load_policy(run, device="cuda")(observations)
    assert np.allclose(actions, mher_pl.load_policy(run)(observations), atol=1e-5)
