from lightning.pytorch.profilers import SimpleProfiler

from mher_pl.profiler import NoProfiler


def test_blocks_go_on_as_they_would_without_it():
    with NoProfiler().profile("outer"), NoProfiler().profile("inner") as value:
        assert value is None


def test_it_is_the_one_in_use_unless_another_is_asked_for(build):
    assert type(build("point2d").trainer.profiler) is NoProfiler
    assert type(build("point2d", **{"trainer.profiler": "simple"}).trainer.profiler) is SimpleProfiler
