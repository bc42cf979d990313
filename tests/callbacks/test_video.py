from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from callbacks import Video


@pytest.mark.parametrize("task", ["point2d", "fetch"])
def test_an_mp4_of_the_policy_lies_in_the_runs_folder(task: str, build, capsys):
    cli = build(task, **{"data.env_kwargs.max_episode_steps": 10})
    cli.trainer.fit(cli.model, cli.datamodule)
    video = Video(episodes=1)
    video.on_test_end(cli.trainer, cli.model)
    path = Path(cli.trainer.log_dir) / "video.mp4"
    with imageio.get_reader(path) as reader:
        frames = np.stack([*reader.iter_data()])
    assert len(frames) == 10, "one frame a step"
    assert frames.std() > 5, "the picture is not empty"
    assert (frames[0] != frames[-1]).any(), "something moves"
    assert f"video {path}" in capsys.readouterr().out
