from trained_runs import assert_same_run, fit, run_folder, scalars


def test_the_same_seed_gives_the_same_numbers_evaluation_included_and_another_seed_others(tmp_path):
    runs = [run_folder(tmp_path / name, seed) for name, seed in (("one", 0), ("same", 0), ("other", 1))]
    for folder in runs:
        assert fit(folder.parents[2], f"--seed_everything={folder.name[-1]}", epochs=3) == 0
    assert_same_run(*runs[:2])
    one, other = scalars(runs[0]), scalars(runs[2])
    assert one["train/critic_loss", 500] != other["train/critic_loss", 500]
    assert one["eval/return", 500] != other["eval/return", 500]


def test_what_only_looks_on_changes_no_number_of_training(tmp_path):
    short = "--data.env_kwargs.max_episode_steps=20"
    assert fit(tmp_path / "one", short) == 0
    looks = ["--evaluation.episodes=7", "--trainer.check_val_every_n_epoch=2", "--relabel_goals.every_n_epochs=1"]
    looks += ["--trainer.callbacks=mher_pl.callbacks.Video", "--trainer.callbacks.episodes=1"]
    assert fit(tmp_path / "other", short, *looks, "--trainer.enable_checkpointing=false", "--data.capacity=500000") == 0
    one, other = (scalars(run_folder(tmp_path / name)) for name in ("one", "other"))
    training = {key: value for key, value in one.items() if key[0].startswith("train/")}
    assert len(training) > 10
    assert {key: other[key] for key in training} == training
