import threading

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
