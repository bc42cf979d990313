"""The `watch` command."""

import imageio.v3 as imageio
import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from trained_runs import fit, run_folder

from mher_pl.__main__ import main
from mher_pl.callbacks.episode_figure import EpisodeFigure
from mher_pl.envs.draw import Window
from mher_pl.run.watch import load_run, show


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with episodes of 20 steps."""
    root = tmp_path_factory.mktemp("watched")
    assert fit(root, "--data.env_kwargs.max_episode_steps=20", epochs=1) == 0
    return run_folder(root)


def test_a_video_shows_every_step_of_the_episodes_beside_their_goals_and_values(run, tmp_path, capsys):
    video = tmp_path / "new" / "out.mp4"
    assert main(["watch", str(run / "best"), "--video", str(video), "--episodes", "1"]) == 0
    assert capsys.readouterr().out == f"video {video}\n"
    frames = imageio.imread(video)
    assert frames.shape == (20, 480, 480 + 360, 3)
    beside = frames[:, :, 480:].astype(int)
    assert np.abs(beside[10] - beside[0]).max() > 100, "the path grows"


def test_it_ends_when_its_window_is_closed(run, monkeypatch, capsys):
    matplotlib.use("agg")
    shown = []

    def pause(seconds: float) -> None:
        shown.append(seconds)
        if len(shown) == 3:
            pyplot.close("all")

    monkeypatch.setattr(pyplot, "pause", pause)
    monkeypatch.setattr(Window, "possible", lambda: True)
    capsys.readouterr()
    assert main(["watch", str(run)]) == 0
    assert len(shown) == 3
    assert capsys.readouterr() == ("", "")


def test_the_picture_holds_what_was_up_to_its_step():
    path = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    figure = EpisodeFigure("", path, torch.ones(3, 2), torch.full((3, 2), torch.nan), torch.tensor([-2.0, -1.0, 0.0]))
    figure.draw(1)
    achieved, relabelled, desired, values = (line.get_xydata().tolist() for _, line in figure._curves)
    assert achieved == [[0.0, 0.0], [1.0, 0.0]]
    assert np.isnan(relabelled).all()
    assert desired == [[1.0, 1.0], [1.0, 1.0]]
    assert values == [[0.0, -2.0], [1.0, -1.0]]


@pytest.mark.parametrize("relabelled", [None, torch.full((3, 3), torch.nan)])
def test_goals_in_space_are_drawn_there_with_shadows_on_the_floor(relabelled):
    path = torch.tensor([[0.0, 0.0, 0.5], [1.0, 0.0, 0.5], [1.0, 2.0, 3.5]])
    figure = EpisodeFigure("", path, torch.ones(3, 3), relabelled, None)
    figure.draw(1)
    lines = [np.stack(line.get_data_3d(), axis=1) for _, line in figure._curves]
    (achieved, *_, desired), (shadow, shadow_of_goal) = lines[:-2], lines[-2:]
    assert achieved.tolist() == path[:2].tolist()
    assert desired.tolist() == [[1.0, 1.0, 1.0]] * 2
    assert shadow[:, :2].tolist() == path[:2, :2].tolist()
    assert shadow_of_goal[:, :2].tolist() == [[1.0, 1.0]] * 2
    heights = np.concatenate([shadow[:, 2], shadow_of_goal[:, 2]])
    assert (heights == heights[0]).all()
    assert heights[0] < 0.5, "below all goals"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is no screen to open a window on, or no toolkit such as tkinter; allowed: --video FILE"),
        (["--video=x.mp4", "--episodes=0"], "--episodes is 0; allowed: an integer of at least 1"),
        (
            ["--video=x.mp4"],
            "ckpt_path is 'nowhere', which does not exist; allowed: a checkpoint, or a run's folder RUN",
        ),
        *(
            ([f"--video={name}"], f"--video is '{name}'; allowed: a file's name that ends in .mp4")
            for name in ("x.jpg", "x.npz", "x.tiff", "x.png", "x")
        ),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, capsys, options, message):
    monkeypatch.setattr("matplotlib.get_backend", lambda: "agg")  # what matplotlib falls back on
    assert main(["watch", "nowhere", *options]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {message}")


def test_a_run_that_is_not_there_has_no_folder_made_for_its_video(run, tmp_path, capsys):
    assert main(["watch", "nowhere", f"--video={tmp_path}/new/x.mp4"]) == 1
    assert not (tmp_path / "new").exists()
    capsys.readouterr()
    assert main(["watch", str(run), "--video=/proc/no/x.mp4"]) == 1
    assert "--video's folder is '/proc/no'; allowed: a folder that can be written" in capsys.readouterr().err


def test_goals_of_a_method_that_learns_from_a_part_of_the_rows_stand_at_their_steps(tmp_path, monkeypatch):
    assert fit(tmp_path, "--config=cher", "--data.env_kwargs.max_episode_steps=20", epochs=1) == 0
    figures = []

    def note(title, achieved, desired, goals, values):
        figures.append((achieved, goals))
        return EpisodeFigure(title, achieved, desired, goals, values)

    monkeypatch.setattr("mher_pl.run.watch.EpisodeFigure", note)
    agent, data = load_run(str(tmp_path / "Point2DLarge-v1" / "cher" / "seed_0"))
    next(show(agent, data, episodes=1))
    ((achieved, goals),) = figures  # [20, 2] each
    steps = torch.nonzero(~goals[:, 0].isnan()).flatten().tolist()
    assert 1 <= len(steps) <= 10, "CHER takes half of the rows"
    for step in steps:
        assert (achieved[step:] == goals[step]).all(dim=1).any(), "achieved at that step or later"
