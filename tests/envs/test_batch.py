import multiprocessing
import threading
import time

import pytest

from mher_pl.envs import batch


@pytest.mark.parametrize(("copies", "threads"), [(1, 1), (1, 4), (7, 2), (100, 3)])
def test_every_copy_is_worked_on_once(copies, threads):
    done = []

    def work(queue):
        for copy in queue:
            time.sleep(1e-4)  # lets the other threads in
            done.append(copy)

    batch.share(work, copies, threads)
    assert sorted(done) == list(range(copies))


def test_several_threads_take_part():
    names = set()
    both = threading.Barrier(2, timeout=20)

    def work(queue):
        for _ in queue:
            names.add(threading.current_thread().name)
            both.wait()

    batch.share(work, 2, 2)
    assert len(names) == 2


def test_an_error_in_any_thread_is_raised_once_all_have_stopped():
    def work(queue):
        for copy in queue:
            time.sleep(1e-3)
            if copy == 3:
                raise RuntimeError("copy 3 failed")

    with pytest.raises(RuntimeError, match="copy 3 failed"):
        batch.share(work, 20, 2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_gets_threads_of_its_own():
    batch.share(lambda queue: list(queue), 4, 2)  # the pool of this process exists now
    child = multiprocessing.get_context("fork").Process(target=test_several_threads_take_part)
    child.start()
    child.join(30)
    if child.is_alive():
        child.kill()
    assert child.exitcode == 0
