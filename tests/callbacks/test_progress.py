from callbacks import Progress


def test_the_bar_counts_environment_steps_to_a_true_total_and_tells_the_end(build, capsys):
    cli = build("point2d", **{"trainer.max_epochs": 2, "trainer.enable_progress_bar": True})
    bars = []
    progress = next(c for c in cli.trainer.callbacks if isinstance(c, Progress))
    close = progress._close
    progress._close = lambda: (bars.append((progress._bar.n, progress._bar.total)), close())
    cli.trainer.fit(cli.model, cli.datamodule)
    assert bars == [(400, 400)], "2 episodes of warm-up and 2 of training"
    out = capsys.readouterr().out
    assert "env steps/s" in out
    assert "success rate" in out
    assert out.splitlines()[-1].endswith(f"run folder {cli.trainer.log_dir}")
