from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from mher_pl.callbacks import Video
from mher_pl.errors import UserError
from tests.conftest import needs_gl


@pytest.mark.parametrize("task", ["point2d", pytest.param("fetch", marks=needs_gl)])
def test_an_mp4_of_the_policy_lies_in_the_runs_folder(task: str, build, capsys):
    cli = build(task, **{"data.env_kwargs.max_episode_steps": 10})
    cli.trainer.callbacks.insert(0, Video(episodes=1))
    cli.trainer.fit(cli.model, cli.datamodule)
    path = Path(cli.trainer.default_root_dir) / "video.mp4"
    with imageio.get_reader(path) as reader:
        frames = np.stack([*reader.iter_data()])
    assert len(frames) == 10, "one frame a step"
    assert frames.std() > 5, "the picture is not empty"
    assert (frames[0] != frames[-1]).any(), "something moves"
    assert f"video {path}" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_named_before_training(build, tmp_path):
    (tmp_path / "file").touch()
    cli = build("point2d")
    cli.trainer.callbacks.insert(0, Video(folder=str(tmp_path / "file" / "videos")))
    with pytest.raises(UserError, match=r"video.folder is '.*videos'; allowed: a folder that can be written"):
        cli.trainer.fit(cli.model, cli.datamodule)
    assert not cli.trainer.global_step


def test_a_video_of_a_tested_checkpoint_lies_in_its_runs_folder_or_where_asked(build, tmp_path):
    short = {"data.env_kwargs.max_episode_steps": 10}
    trained = build("point2d", **short)
    trained.trainer.fit(trained.model, trained.datamodule)
    run = Path(trained.trainer.default_root_dir)
    last = run / "checkpoints" / "last.ckpt"
    alone = tmp_path / "alone" / "a.ckpt"
    alone.parent.mkdir()
    alone.write_bytes(last.read_bytes())
    new = tmp_path / "new"
    for checkpoint, folder, expected in ((last, None, run), (last, str(new), new), (alone, None, alone.parent)):
        cli = build("point2d", **short)
        cli.trainer.callbacks.insert(0, Video(episodes=1, folder=folder))
        cli.trainer.test(cli.model, cli.datamodule, ckpt_path=str(checkpoint))
        assert (expected / "video.mp4").is_file()
