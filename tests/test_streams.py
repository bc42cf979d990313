from itertools import product

import torch

from mher_pl.streams import Stream, stream_generator, stream_seed, stream_seeds


def test_no_stream_of_neighbouring_seeds_begins_like_another():
    seeds = [stream_seed(*parts) for parts in product(range(20), Stream, range(20))]
    assert len(set(seeds)) == len(seeds)
    assert not set(seeds) & set(range(20)), "nor is one the run's own seed, with which Lightning seeds the libraries"


def test_more_seeds_of_a_stream_begin_with_the_fewer():
    assert stream_seeds(100, 0, Stream.TEST)[:10] == stream_seeds(10, 0, Stream.TEST)
    assert stream_seed(0, Stream.TEST) == stream_seeds(10, 0, Stream.TEST)[0]


def test_streams_are_uncorrelated():
    draws = torch.stack([torch.randn(10_000, generator=stream_generator(0, stream)) for stream in Stream])
    apart = torch.corrcoef(draws) - torch.eye(len(draws))
    assert apart.abs().max() < 0.05


def test_what_draws_in_a_run_draws_from_a_stream_of_its_own(build, monkeypatch):
    seeds, manual_seed = [], torch.manual_seed
    monkeypatch.setattr("torch.manual_seed", lambda seed: seeds.append(seed) or manual_seed(seed))
    cli = build("point2d")
    assert stream_seed(0, Stream.WEIGHTS) in seeds
    cli.trainer.fit(cli.model, cli.datamodule)
    generators = cli.model.generator, cli.datamodule.replay.generator, cli.datamodule.source.policy.generator
    assert [generator.initial_seed() for generator in generators] == [
        stream_seed(0, stream) for stream in (Stream.UPDATES, Stream.REPLAY, Stream.EXPLORATION)
    ]
