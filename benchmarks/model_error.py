"""How far the dynamics model of a manipulation task is off along paths of 1 to 10 steps, for gripper and object.

    python benchmarks/model_error.py runs/push/push/mher_relay/seed_*/*/*/seed_*

Each run's actor, with the noise of virtual paths on its actions, acts in episodes that the model has not seen. From
every tenth state the model takes the same actions as the environment did. Paths along which the object has been moved
by more than a millimetre stand apart; beside the model's error on them stands that of saying that it stays.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from output import Report
from torch import Tensor

from mher_pl.envs import make_vec
from mher_pl.evaluate import rollout
from mher_pl.relay import Relay
from mher_pl.run.watch import load_run

OUT = Path(__file__).parent / "results" / "manipulation" / "model_error.json"
EPISODES, STEPS = 100, 10
LENGTHS = range(1, STEPS + 1)
MOVED = 1.0  # mm
NOISE = 0.2
STAYS = "object, said to stay"
COLOURS = {"gripper": "tab:blue", "object": "tab:red", STAYS: "tab:gray"}


@torch.no_grad()
def errors(run: str) -> dict[str, Tensor]:
    """Return a run's errors [paths, STEPS] in millimetres, by what is judged."""
    agent, data = load_run(run)
    assert isinstance(agent, Relay)
    assert agent.dynamics is not None
    generator = torch.Generator().manual_seed(0)

    def act(observation: Tensor, goal: Tensor) -> Tensor:
        action = agent.act(observation, goal)
        return (action + NOISE * torch.randn(action.shape, generator=generator)).clamp(-1.0, 1.0)

    envs = make_vec(data.task.env, num_envs=EPISODES, **data.env_kwargs)
    seeds = np.random.SeedSequence(2**20).generate_state(EPISODES).tolist()  # not among those of training
    episodes = rollout(act, envs, data.task, seeds)
    envs.close()
    states, actions = (x.view(data.task.horizon, EPISODES, -1) for x in (episodes.observations, episodes.actions))
    starts = torch.arange(0, len(states) - STEPS, STEPS)
    state, ends = states[starts].flatten(0, 1), []
    for step in range(STEPS):
        state = agent.dynamics.predict(state, actions[starts + step].flatten(0, 1))
        ends.append(state)
    said = torch.stack(ends, dim=1)  # [paths, STEPS, obs]
    real = torch.stack([states[starts + step + 1].flatten(0, 1) for step in range(STEPS)], dim=1)
    first = states[starts].flatten(0, 1).unsqueeze(1)
    judged = {
        "gripper": said[..., agent.moved] - real[..., agent.moved],
        "object": said[..., agent.at] - real[..., agent.at],
        STAYS: first[..., agent.at] - real[..., agent.at],
    }
    return {name: 1e3 * difference.norm(dim=-1) for name, difference in judged.items()}


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders of runs of mher_relay")
    options = parser.parse_args()
    runs = [errors(run) for run in options.runs]
    found = {name: torch.cat([run[name] for run in runs]) for name in COLOURS}  # [paths, STEPS]
    moved = torch.stack([found[STAYS][:, : step + 1].amax(dim=1) > MOVED for step in range(STEPS)], dim=1)
    report = Report(OUT, runs=len(runs), episodes=EPISODES)
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    kinds = {"object moved": moved, "object not moved": ~moved}
    for panel, (kind, rows) in zip(figure.subplots(1, 2, sharey=True), kinds.items(), strict=True):
        counts = rows.sum(dim=0).tolist()
        values: dict[str, dict[str, Any]] = {"paths": dict(zip(map(str, LENGTHS), counts, strict=True))}
        for name, colour in COLOURS.items():
            if name == STAYS and kind != "object moved":
                continue  # right by definition
            spread = np.array([np.quantile(found[name][rows[:, k], k], [0.25, 0.5, 0.75]) for k in range(STEPS)])
            panel.plot(LENGTHS, spread[:, 1], color=colour, label=name)
            panel.fill_between(LENGTHS, spread[:, 0], spread[:, 2], color=colour, alpha=0.2, linewidth=0)
            values[name] = dict(zip(map(str, LENGTHS), spread[:, 1].tolist(), strict=True))
        panel.set(title=kind, xlabel="steps of the path", yscale="log", xticks=LENGTHS)
        report.table(f"Median error in millimetres by the path's steps, {kind}", "of", values)
        report.values[kind] = values
    figure.axes[0].set_ylabel("error, mm")
    figure.axes[0].legend(frameon=False)
    report.write()
    figure.savefig(OUT.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
