from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from callbacks import Video
from mher_pl.errors import UserError
from tests.conftest import needs_gl


@needs_gl
@pytest.mark.parametrize("task", ["point2d", "fetch"])
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


@needs_gl
def test_a_folder_that_cannot_be_written_is_named_before_training(build, tmp_path):
    (tmp_path / "file").touch()
    cli = build("point2d")
    cli.trainer.callbacks.insert(0, Video(folder=str(tmp_path / "file" / "videos")))
    with pytest.raises(UserError, match=r"video.folder is '.*videos'; allowed: a folder that can be written"):
        cli.trainer.fit(cli.model, cli.datamodule)
    assert not cli.trainer.global_step
