import subprocess
import sys
import threading

import pytest

from laion_assets.images.budget import MemoryBudget


def test_whoever_asks_for_more_than_is_left_waits():
    budget = MemoryBudget(10)
    inside, leave, went_in = threading.Event(), threading.Event(), []

    def hold(size):
        with budget.hold(size):
            went_in.append(size)
            inside.set()
            leave.wait(10)

    first = threading.Thread(target=hold, args=(7,))
    first.start()
    assert inside.wait(10)
    with budget.hold(3):
        pass
    second = threading.Thread(target=hold, args=(4,))
    second.start()
    assert went_in == [7]
    leave.set()
    first.join(10)
    second.join(10)
    assert went_in == [7, 4]


def test_what_was_held_comes_back_after_an_error():
    budget = MemoryBudget(10)
    for _ in range(3):
        try:
            with budget.hold(10):
                raise ValueError
        except ValueError:
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="what a process has taken is read from Linux' /proc")
def test_the_last_net_lets_allocations_fail_and_nothing_else():
    code = (
        "import numpy; from laion_assets.images.budget import limit_process_memory; limit_process_memory(200_000_000)\n"
    )
    code += "numpy.ones(12_500_000)\ntry:\n    numpy.ones(50_000_000)\nexcept MemoryError:\n    print('refused')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "refused\n"
