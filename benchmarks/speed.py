"""Where the time goes: epochs, updates, environment steps, start-up, memory, beside the floors they cannot go below.

What is compared is timed in turns within this one run, so that a busy machine slows both sides alike. The results are
written as JSON and, as tables with the hardware named, as Markdown.

    python benchmarks/speed.py [--quick]
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import envs
import numpy as np
import torch
from clock import Clock, in_turns
from epochs import epoch_split, settings
from output import Report
from processes import fit, start_up
from updates import BareUpdate, Learner, peer

from mher_pl.callbacks import Evaluation, ModelWarmup
from mher_pl.data import Collected
from mher_pl.envs import make, make_vec
from mher_pl.exploration import NoisyActor
from mher_pl.run.api import load
from mher_pl.streams import Stream, stream_seed

ROOT = Path(__file__).parent.parent
EPOCHS = 10  # to average over: one of them draws a picture
TASKS = "point2d", "four_room", "reacher", "sawyer", "fetch"
TARGETS = {  # name: limit, and whether the value must stay below it
    "FetchReach `fit` / physics floor": (1.5, True),
    "FetchReach evaluation / physics floor": (1.25, True),
    "MHER updates / bare products": (0.5, False),
    "`mher_plus` updates / bare products": (0.6, False),
    "collector adds, ms a step": (0.25, True),
    "Lightning, logging, callbacks and checkpoint add, ms an update": (1.0, True),
    "Point2D `fit`, s": (15.0, True),
    "`--help`, s": (2.0, True),
    "start to first environment step, s": (6.0, True),
}


def collector_adds(learner: Learner, budget: float) -> dict[str, float]:
    """Return milliseconds a step of collecting, and of the bare environment step plus actor call.

    Both run the same episodes, for physics takes longer along some paths than along others: without exploration.
    """
    agent, data = learner.agent, learner.data
    task, kwargs = agent.task, data.env_kwargs
    source, exploration = Collected(), NoisyActor(noise=0.0, random_action_probability=0.0)
    source.open(task, kwargs, 1, exploration, data.practice, agent.act, seed=0)
    env, numbers = make(task.env, **kwargs), count()

    def bare() -> None:
        observation, _ = env.reset(seed=stream_seed(0, Stream.EPISODES, next(numbers)))  # as the collector does
        for _ in range(task.horizon):
            state, goal = (
                torch.as_tensor(observation[key], dtype=torch.float32) for key in ("observation", "desired_goal")
            )
            observation, *_ = env.step(agent.act(state, goal).numpy())

    for function in (source.next, bare):  # both begin with the second episode
        function()
    seconds = in_turns(budget, {"collect": source.next, "bare": bare})
    source.close()
    return {name: 1e3 * value / task.horizon for name, value in seconds.items()}


def evaluation(learner: Learner, episodes: int, rounds: int) -> dict[str, float]:
    """Return the seconds of an evaluation on FetchReach and, timed step by step beside it, of its physics alone.

    The evaluation is what `Evaluation` does after an epoch, resets, metrics and Q values included, but for logging.
    """
    agent, trainer, clock = learner.agent, learner.trainer, Clock()
    callback = Evaluation(episodes)
    callback.envs = batch = make_vec(agent.task.env, num_envs=episodes, **learner.data.env_kwargs)
    floor, reset, step = envs.Floor(batch), batch.reset, batch.step

    def reset_beside_floor(**kwargs: Any) -> Any:
        result = reset(**kwargs)
        with clock.part("copying"):
            floor.start()
        return result

    def step_beside_floor(actions: np.ndarray) -> Any:
        result = step(actions)
        with clock.part("copying"):
            floor.follow()
        with clock.part("floor"):
            floor.step()
        return result

    batch.reset, batch.step = reset_beside_floor, step_beside_floor
    measured = []
    with torch.inference_mode():  # as within Lightning's validation
        for _ in range(rounds):
            clock.spent.clear()
            with clock.part("evaluation"):
                outcome = callback.evaluate(trainer, agent)
                outcome.means()
                agent.value(outcome.observations, outcome.desired_goals, outcome.actions).mean().item()
            measured.append((clock.spent["evaluation"], clock.spent["floor"]))
    batch.close()
    seconds, floors = zip(*measured, strict=True)
    return {
        "seconds": statistics.median(seconds),
        "floor, s": statistics.median(floors),
        "ratio": statistics.median(second / least for second, least in measured),
        "physics steps/s": episodes * agent.task.horizon / statistics.median(floors),
    }


def fit_over_floor(learner: Learner, paper: dict[str, int], rounds: int) -> dict[str, float]:
    """Return the seconds of FetchReach's `fit` and of its physics alone, which is timed right before and after each."""
    episodes = paper["warmup"] + paper["epochs"] * (paper["training"] + paper["evaluation"])
    steps = episodes * paper["horizon"]
    rates = [evaluation(learner, paper["evaluation"], 1)["physics steps/s"]]
    measured = []
    for _ in range(rounds):
        seconds = fit("fetch")["end"]
        rates.append(evaluation(learner, paper["evaluation"], 1)["physics steps/s"])
        measured.append((seconds, steps / statistics.fmean(rates[-2:])))
    fits, floors = zip(*measured, strict=True)
    return {
        "FetchReach": statistics.median(fits),
        "its physics floor": statistics.median(floors),
        "FetchReach over its floor": statistics.median(seconds / floor for seconds, floor in measured),
    }


def updates_per_second(learners: dict[str, Learner], budget: float) -> dict[str, dict[str, float]]:
    """Return the updates per second of every learner, of the bare products of MHER's two, and of the peer.

    Each does an episode's updates in a row, as training does; `mher_plus` has so many more, of twice the size.
    """
    functions: dict[str, tuple[int, Callable]] = {}
    for name, learner in learners.items():
        updates = learner.data.batches_per_episode
        functions[name] = updates, learner.learn
        if name in ("mher", "mher_plus"):
            bare = BareUpdate(learner.agent, learner.data.batch_size)
            functions[f"bare products of {name}"] = updates, partial(bare.updates, updates)
    few = learners["mher"].data.batches_per_episode
    functions |= {name: (few, function) for name, function in peer(few).items()}
    rows = {}
    for name, threads in (("1 thread", 1), ("2 threads", 2)):
        torch.set_num_threads(threads)
        seconds = in_turns(budget, {function: call for function, (_, call) in functions.items()})
        rows[name] = {function: functions[function][0] / taken for function, taken in seconds.items()}
    torch.set_num_threads(1)
    return rows


def bytes_per_transition(learner: Learner) -> dict[str, float]:
    """Return the bytes of a stored transition, and of its fields, each state counted once."""
    stored = sum(value.numel() * value.element_size() for value in learner.data.replay.episodes[0].values())
    task = learner.agent.task
    fields = 4 * (task.observation_size + task.action_size + 2 * task.goal_size)
    return {"bytes of a stored transition": stored / task.horizon, "bytes of its fields": fields}


def protocol(task: str) -> dict[str, int]:
    """Return what the config's `fit` runs: epochs, and episodes of warm-up, training and evaluation."""
    run = load(ROOT / "configs" / f"{task}.yaml")
    callbacks = {type(callback): callback for callback in run.trainer.callbacks}
    return {
        "epochs": run.trainer.max_epochs,
        "warmup": callbacks[ModelWarmup].episodes,
        "training": run.datamodule.episodes_per_epoch,
        "evaluation": callbacks[Evaluation].episodes,
        "horizon": run.datamodule.task.horizon,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, tasks and evaluation episodes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "speed.json")
    args = parser.parse_args()
    quick = args.quick
    torch.set_num_threads(1)
    report = Report(args.out, quick=quick)
    paper = protocol("fetch")
    evaluated = 25 if quick else paper["evaluation"]  # episodes, of which an evaluation that is timed has so many
    within = 5 if quick else paper["evaluation"]  # and one in a run

    with tempfile.TemporaryDirectory() as folder:
        # Ten epochs, after which the arm moves as in most of a run: physics costs more where it flails. The first
        # picture, whose fonts take a second to load, is drawn here and not in an epoch that is timed.
        epochs = 3 if quick else 10
        few = {"evaluation.episodes": 1, "relabel_goals.every_n_epochs": epochs}
        mher = Learner("mher", settings(folder, epochs) | few)
        learners = {"mher": mher} | {
            name: Learner(name, settings(folder, 1) | few) for name in ("her", "ddpg", "mher_plus")
        }
    updates = report.values["updates_per_second"] = updates_per_second(learners, 3.0 if quick else 30.0)
    report.table(
        "Updates per second on FetchReach, batches of 64, those of `mher_plus` of 128, from medians.", "CPU", updates
    )

    collector = report.values["collector_ms_per_step"] = collector_adds(mher, 3.0 if quick else 20.0)
    report.table(
        "Collecting on FetchReach, beside environment step and actor call alone.", "ms a step", {"": collector}
    )
    rounds = 3 if quick else 5
    evaluate = report.values["evaluation"] = evaluation(mher, evaluated, rounds)
    report.table(f"Evaluation of {evaluated} FetchReach episodes, medians of {rounds}.", "", {"evaluation": evaluate})

    tasks = [task for task in envs.TARGETS if not quick or not task.startswith(("FetchP", "FetchS"))]
    copies = 25 if quick else 100
    steps = {task: envs.measure(task, copies, 1.0 if quick else 6.0) for task in tasks}
    report.values["environment_steps"] = steps
    columns = {
        "single": "single_steps_per_second",
        f"batch of {copies}": "steps_per_second",
        f"physics floor of {copies}": "floor_steps_per_second",
        f"`SyncVectorEnv` of {copies}": "sync_steps_per_second",
    }
    rows = {task: {name: row[key] for name, key in columns.items()} for task, row in steps.items()}
    report.table("Environment steps per second, from medians.", "task", rows)

    split = partial(epoch_split, epochs=EPOCHS, **{"evaluation.episodes": within})
    splits = {task: split(task) for task in (("point2d", "fetch") if quick else TASKS)}
    report.values["epoch_ms"] = splits
    caption = (
        f"Milliseconds of an epoch by part, means of {EPOCHS} epochs behind the first, one with its two pictures; "
        f"{within} evaluation episodes. The hooks are what Lightning calls around an optimiser's step; the rest is "
        "its loops, the progress bar and other callbacks. They, the log and the checkpoint are what is added to an "
        "update, beside the bare products of one in the same epochs. The checkpoint is the copy of its numbers; it is "
        "put together and written beside the next epoch, to whose parts that counts. The goal map stands for itself."
    )
    report.table(caption, "task", splits)

    start = start_up(1 if quick else 3)
    one = {"trainer.max_epochs": 1, "evaluation.episodes": within}
    short = [fit("fetch", **one) for _ in range(1 if quick else 3)]
    for name, point in (("first environment step", "first_step"), ("first training step", "first_training_step")):
        start[name] = statistics.median(run[point] for run in short)
    report.values["start_up_s"] = start
    caption = (
        f"Start-up, seconds from the start of a new process, medians of {len(short)}; steps of FetchReach's `fit`."
    )
    report.table(caption, "", {"seconds": start})

    memory = {"peak of `fit`, one epoch, MiB": statistics.median(run["peak_mb"] for run in short)}
    memory = report.values["memory"] = memory | bytes_per_transition(mher)
    report.table("Memory on FetchReach.", "", {"memory": memory})

    if quick:  # a process of one epoch, and as many more as were timed above, with all the evaluation episodes
        more = evaluate["seconds"] * paper["evaluation"] / evaluated - splits["fetch"]["evaluate"] / 1e3
        seconds = short[0]["end"] + (paper["epochs"] - 1) * splits["fetch"]["total"] / 1e3 + paper["epochs"] * more
        episodes = paper["warmup"] + paper["epochs"] * (paper["training"] + paper["evaluation"])
        floor = episodes * paper["horizon"] / evaluate["physics steps/s"]
        fits = {"FetchReach": seconds, "its physics floor": floor, "FetchReach over its floor": seconds / floor}
    else:
        fits = fit_over_floor(mher, paper, 3)
    fits["Point2D"] = fit("point2d")["end"]
    report.values["fit_s"] = fits
    caption = f"`fit` at the paper's protocol, start-up included{'; FetchReach extrapolated from one epoch' * quick}."
    report.table(caption, "", {"seconds": fits})

    values = {
        "FetchReach `fit` / physics floor": fits["FetchReach over its floor"],
        "FetchReach evaluation / physics floor": evaluate["ratio"],
        **{
            f"{name} updates / bare products": updates["1 thread"][key] / updates["1 thread"][f"bare products of {key}"]
            for name, key in (("MHER", "mher"), ("`mher_plus`", "mher_plus"))
        },
        "collector adds, ms a step": collector["collect"] - collector["bare"],
        "Lightning, logging, callbacks and checkpoint add, ms an update": splits["fetch"]["added an update"],
        "Point2D `fit`, s": fits["Point2D"],
        "`--help`, s": start["--help"],
        "start to first environment step, s": start["first environment step"],
    }
    report.values["targets"], rows = {}, {}
    for name, (limit, below) in TARGETS.items():
        met = values[name] <= limit if below else values[name] >= limit
        report.values["targets"][name] = {"value": values[name], "limit": limit, "met": met}
        rows[name] = {
            "value": values[name],
            "limit": f"{'at most' if below else 'at least'} {limit:g}",
            "": "met" if met else "MISSED",
        }
    report.table("Targets, on two CPU cores.", "target", rows)
    report.write()


if __name__ == "__main__":
    main()
