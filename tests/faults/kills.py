"""Processes that end in the middle of their work, work that is damaged by it, clocks that jump, and two builders."""

from collections.abc import Callable

from laion_assets.sample.options import CRAWLS
from tests.faults.damage import deleted, emptied, torn
from tests.faults.forked import SIGNALS, Happening
from tests.faults.ground import MODEL
from tests.faults.points import Kind, Point

_MOMENTS = {
    "crawl_snapshots": 44, "wat_files": 44, "candidate_pairs": 66, "unique_pairs": 42, "images": 124,
    "clip_embeddings": 44, "filtered_pairs": 44, "calibrations": 26,
}  # fmt: skip
"""About how many moments a build of each table has that lacks it alone."""
_MODEL_MOMENTS = 60
_WRITE_SECONDS = 0.06
"""How long Delta takes for a write, at most."""
_DAY = 86_400.0


def _until(table: str) -> str:
    return table if table != "calibrations" else "filtered_pairs"


def _killed(table: str, name: str) -> Callable[[Point], None]:
    def happen(point: Point) -> None:
        point.without(table)
        moment = Happening(signal=SIGNALS[name], moment=point.chance.randint(1, _MOMENTS[table]))
        if point.chance.random() < 0.2:
            moment = Happening(signal=SIGNALS[name], inside=1, after=point.chance.uniform(0, _WRITE_SECONDS))
        ran = point.hear(point.place.build(until=_until(table), happening=moment), codes=(0, 1, -SIGNALS[name], 130))
        if ran.code > 0:
            point.advice(ran)
        _go_on(point)

    return happen


def _go_on(point: Point) -> None:
    """What a build left is no fault; people look, and build on."""
    if point.chance.random() < 0.3:
        assert point.laion("status").code == 0
    point.verify()
    point.build()
    point.judge()


def _model_killed(name: str) -> Callable[[Point], None]:
    def happen(point: Point) -> None:
        point.without(MODEL)
        command = ("models", "run", "--select", MODEL)
        moment = Happening(signal=SIGNALS[name], moment=point.chance.randint(1, _MODEL_MOMENTS))
        ran = point.laion(*command, happening=moment, codes=(0, -SIGNALS[name], 130))
        if ran.code > 0:
            point.advice(ran)
        point.verify()
        assert point.laion(*command).code == 0
        point.recovery.append("laion models run --select MODEL")
        point.judge()

    return happen


def _torn_work(table: str) -> Callable[[Point], None]:
    """Power is lost: the process ends, and what it wrote last is not whole."""

    def happen(point: Point) -> None:
        point.without(table)
        moments = range(_MOMENTS[table] // 4, _MOMENTS[table])
        moment = Happening(signal=SIGNALS["kill -9"], moment=point.chance.choice(moments))
        point.hear(point.place.build(until=table, happening=moment), codes=(0, -SIGNALS["kill -9"]))
        work = sorted(path for path in (point.root / ".staging").rglob("*") if path.is_file())
        if work:
            for path in point.chance.sample(work, min(2, len(work))):
                point.chance.choice((torn, emptied, deleted) if path.stat().st_size else (deleted,))(path, point.chance)
        _go_on(point)

    return happen


def _clock_jumps(point: Point) -> None:
    table = point.chance.choice(("candidate_pairs", "unique_pairs", "clip_embeddings", "filtered_pairs", "wat_files"))
    point.without(table)
    jump = point.chance.choice((-1, 1)) * point.chance.choice((30.0, 3_600.0, _DAY, 400 * _DAY))
    moment = Happening(clock=jump, moment=point.chance.randint(1, _MOMENTS[table]))
    assert point.hear(point.place.build(happening=moment)).code == 0
    _go_on(point)


def _clock_of_cleaning_jumps(point: Point) -> None:
    """``laion gc --delete`` by a clock that is a year off: what is needed stays."""
    jump = point.chance.choice((-1, 1)) * point.chance.choice((_DAY, 40 * _DAY, 400 * _DAY))
    ran = point.laion("gc", "--delete", happening=Happening(clock=jump, moment=1))
    assert ran.code == 0, ran.said
    point.judge()


def _two_builders(point: Point) -> None:
    """Two at once, and one of them may be killed."""
    table = point.chance.choice(("candidate_pairs", "unique_pairs", "filtered_pairs", "wat_files"))
    point.without(table)
    moment = point.chance.randint(1, _MOMENTS[table])
    first = Happening(moment=moment, pause=point.chance.uniform(0.2, 3))
    if point.chance.random() < 0.4:
        first = Happening(moment=moment, signal=SIGNALS["kill -9"])
    arguments = ("build", *CRAWLS, "--until", table)
    one = point.place.start(*arguments, happening=first, name="one")
    other = point.place.start(*arguments, name="other")
    ran = [one.ended(), other.ended()]
    for each in ran:
        point.hear(each, codes=(0, 1, -SIGNALS["kill -9"]))
        if each.code == 1:
            point.advice(each)
        for line in each.lines:
            if line.startswith("another build"):
                point.note(line)
    _go_on(point)


KINDS = [
    *(
        Kind(f"{name} while {table} is built", _killed(table, name), shares[number])
        for table, shares in {
            "crawl_snapshots": (4, 2), "wat_files": (4, 2), "candidate_pairs": (6, 3), "unique_pairs": (8, 4),
            "images": (5, 3), "clip_embeddings": (4, 2), "filtered_pairs": (6, 3), "calibrations": (2, 1),
        }.items()
        for number, name in enumerate(SIGNALS)
    ),
    *(Kind(f"{name} while a SQL model is built", _model_killed(name), 4) for name in SIGNALS),
    Kind("power lost while candidate_pairs is built", _torn_work("candidate_pairs"), 4),
    Kind("power lost while images is built", _torn_work("images"), 3),
    Kind("the clock jumps during a build", _clock_jumps, 5),
    Kind("laion gc --delete by a wrong clock", _clock_of_cleaning_jumps, 3),
    Kind("two builders, one of them slow or killed", _two_builders, 6),
]  # fmt: skip
