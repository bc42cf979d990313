"""Runs written without training, for the tests of the report and the sweep."""

from pathlib import Path

import yaml
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

START = 1_700_000_000.0  # Unix time of a run's first event


def write_config(
    folder: Path,
    *,
    env: str = "mher_pl/Point2DLarge-v1",
    env_kwargs: dict | None = None,
    algorithm: str = "mher",
    seed: int = 0,
    max_epochs: int = 3,
    trainer: dict | None = None,
    model: dict | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "seed_everything": seed,
        "algorithm": algorithm,
        "trainer": {"max_epochs": max_epochs, **(trainer or {})},
        "data": {"env": env, "env_kwargs": env_kwargs or {}},
        "model": {"init_args": model or {}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def write_events(
    folder: Path,
    rates: list[float],
    *,
    first_epoch: int = 0,
    start: float = START,
    placeholder: bool = True,
    log_epoch: bool = True,
    steps_per_epoch: int = 100,
    warmup_steps: int = 2000,
    seconds_per_epoch: float = 10.0,
) -> None:
    """Write one session's event file: success rates of consecutive epochs, counted from 0 as training does."""
    scalars = [("eval/success_rate", 0.0, 0, start)] if placeholder else []
    for place, rate in enumerate(rates):
        epoch = first_epoch + place
        step, time = warmup_steps + steps_per_epoch * (epoch + 1), start + seconds_per_epoch * (place + 1)
        scalars.append(("eval/success_rate", rate, step, time))
        scalars.append(("train/critic_loss", 1.0, step, time))
        if log_epoch:
            scalars.append(("epoch", epoch, step, time))
    with (folder / f"events.out.tfevents.{start:.0f}.host.1.0").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=start, file_version="brain.Event:2").SerializeToString())
        for tag, value, step, time in scalars:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(Event(wall_time=time, step=step, summary=summary).SerializeToString())


def write_run(folder: Path, rates: list[float], *, start: float = START, **config: object) -> Path:
    """Write a whole run whose length is that of `rates`."""
    write_config(folder, **{"max_epochs": len(rates), **config})
    write_events(folder, rates, start=start)
    return folder
