"""Runs written without training, for the tests of the report and the sweep."""

from pathlib import Path

import yaml

START = 1_700_000_000.0  # Unix time of a run's start


def write_config(
    folder: Path,
    *,
    env: str = "mher_pl/Point2DLarge-v1",
    env_kwargs: dict | None = None,
    algorithm: str = "mher",
    seed: int = 0,
    max_epochs: int | None = 3,
    trainer: dict | None = None,
    model: dict | None = None,
    episodes: int = 100,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "seed_everything": seed,
        "algorithm": algorithm,
        "trainer": {"max_epochs": max_epochs, **(trainer or {})},
        "data": {"env": env, "env_kwargs": env_kwargs or {}},
        "model": {"init_args": model or {}},
        "evaluation": {"episodes": episodes},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def write_metrics(
    folder: Path,
    rates: list[float],
    *,
    first_epoch: int = 1,
    start: float = START,
    steps_per_epoch: int = 100,
    warmup_steps: int = 2000,
    seconds_per_epoch: float = 10.0,
) -> None:
    """Add success rates of consecutive epochs to a run's table, as a start of it that goes on from `first_epoch`."""
    lines = ["epoch,env_steps,unix_time,metric,value"]
    if (folder / "metrics.csv").is_file():
        before = (folder / "metrics.csv").read_text().splitlines()[1:]
        lines += [line for line in before if int(line.split(",")[0]) < first_epoch]
    for epoch, rate in enumerate(rates, first_epoch):
        key = f"{epoch},{warmup_steps + steps_per_epoch * epoch},{start + seconds_per_epoch * epoch}"
        values = {"eval/success_rate": rate, "time/wall": seconds_per_epoch * epoch, "train/critic_loss": 1.0}
        lines += [f"{key},{metric},{value}" for metric, value in values.items()]
    (folder / "metrics.csv").write_text("".join(f"{line}\n" for line in lines))


def write_ended(folder: Path) -> None:
    """Add to a run's table that the run ended by itself."""
    with (folder / "metrics.csv").open("a") as file:
        file.write(f"3,2300,{START + 31},ended,3\n")


def write_run(folder: Path, rates: list[float], *, start: float = START, **config: object) -> Path:
    """Write a whole run whose length is that of `rates`."""
    write_config(folder, **{"max_epochs": len(rates), **config})
    write_metrics(folder, rates, start=start)
    return folder
