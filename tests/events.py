"""Reading back what a run logged."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def events(folder: Path | str) -> EventAccumulator:
    """Load all of a run's events."""
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0}).Reload()


def scalars(folder: Path | str) -> dict[str, dict[int, float]]:
    """Return tag -> environment steps -> value."""
    read = events(folder)
    return {tag: {event.step: event.value for event in read.Scalars(tag)} for tag in read.Tags()["scalars"]}
