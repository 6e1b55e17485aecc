"""Damage to the bytes of a lake at rest: torn, emptied, flipped, deleted."""

import random
from collections.abc import Callable
from pathlib import Path

from laion_assets.delta.logs import table_folders
from laion_assets.sample.options import CRAWLS
from tests.faults.forked import SIGNALS, Happening
from tests.faults.points import Kind, Point

Harm = Callable[[Path, random.Random], None]
Pick = Callable[[Point], list[Path]]


def torn(path: Path, chance: random.Random) -> None:
    """Cut off somewhere, as by a machine that lost power."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: chance.randrange(len(content))])


def flipped(path: Path, chance: random.Random) -> None:
    """One bit is another."""
    content = bytearray(path.read_bytes())
    bit = chance.randrange(len(content) * 8)
    content[bit // 8] ^= 1 << bit % 8
    path.unlink()
    path.write_bytes(content)


def emptied(path: Path, _: random.Random) -> None:
    """No byte is left."""
    path.unlink()
    path.touch()


def deleted(path: Path, _: random.Random) -> None:
    """It is gone."""
    path.unlink()


def data_files(point: Point) -> list[Path]:
    """Data files of the newest versions, of removal requests, models and verdicts too."""
    lake = point.place.lake
    return sorted(
        Path(name) for table in table_folders(lake.storage, lake.catalogue) for name in lake.opened(table).file_uris()
    )


def tars(point: Point) -> list[Path]:
    return sorted(point.root.glob("files/images/**/*.tar"))


def log_entries(point: Point) -> list[Path]:
    return sorted(point.root.glob("*/_delta_log/*.json"))


def seals(point: Point) -> list[Path]:
    return sorted(point.root.glob("*/_laion/*.json"))


_LOOKS = (
    ("status",),
    ("tables",),
    ("gc",),
    ("sql", "FROM commits"),
    ("sql", "SELECT count(DISTINCT COLUMNS(*)) FROM {table}"),
    ("build", *CRAWLS),
)


def look(point: Point, file: Path) -> None:
    """Somebody meets the damage in passing: if a command fails of it, it says a line and the way out."""
    table = file.relative_to(point.root).parts[0]
    command = [part.format(table=table if table != "files" else "images") for part in point.chance.choice(_LOOKS)]
    ran = point.laion(*command)
    if ran.code:
        point.advice(ran)


def _damage(harm: Harm, pick: Pick) -> Callable[[Point], None]:
    def happen(point: Point) -> None:
        several = 2 if point.chance.random() < 0.25 else 1
        files = point.chance.sample(pick(point), several)
        for file in files:
            harm(file, point.chance)
        if point.chance.random() < 0.5:
            look(point, files[0])
        lines = point.verify(broken={file.relative_to(point.root).as_posix() for file in files})
        point.follow(lines)
        point.judge()

    return happen


def _log_gone(point: Point) -> None:
    """The folder of a table's log is gone; its data and seals are there."""
    table = point.chance.choice(sorted({path.parent.parent for path in log_entries(point)}))
    entries = sorted((table / "_delta_log").glob("*.json"))
    for path in (table / "_delta_log").iterdir():
        path.unlink()
    (table / "_delta_log").rmdir()
    lines = point.verify(broken={entry.relative_to(point.root).as_posix() for entry in entries})
    point.follow(lines)
    point.judge()


def _entry_and_seal(point: Point) -> None:
    """What an entry held is nowhere else: it counts as never published, and is built again."""
    entry = point.chance.choice(
        [path for path in log_entries(point) if int(path.stem) > 0 and path.parent.parent.name != "takedowns"]
    )
    seal = entry.parent.parent / "_laion" / entry.name
    point.chance.choice((torn, emptied, deleted))(entry, point.chance)
    point.chance.choice((torn, flipped))(seal, point.chance)
    lines = point.verify(broken={path.relative_to(point.root).as_posix() for path in (entry, seal)})
    point.follow(lines)
    point.build()
    point.judge()


def _marker(harm: Harm) -> Callable[[Point], None]:
    def happen(point: Point) -> None:
        before = (point.root / "lake.json").read_bytes()
        harm(point.root / "lake.json", point.chance)
        commands = (("build", *CRAWLS), ("status",), ("verify",), ("sql", "SELECT 1"), ("tables",))
        ran = point.laion(*point.chance.choice(commands), codes=(2,))
        point.restore(point.advice(ran))
        assert (point.root / "lake.json").read_bytes().split(b"created_at")[0] == before.split(b"created_at")[0]
        point.build()
        point.judge()

    return happen


def _healer_killed(point: Point) -> None:
    """``laion verify --repair`` is killed while it mends."""
    files = [point.chance.choice(pick(point)) for pick in (data_files, log_entries, seals)]
    for file in {*files}:
        point.chance.choice((torn, flipped, deleted))(file, point.chance)
    moment = Happening(signal=SIGNALS["kill -9"], moment=point.chance.randint(1, 24))
    point.laion("verify", "--repair", happening=moment, codes=(-9, 1))
    ran = point.laion("verify", "--repair", codes=(0, 1))
    point.recovery.append("laion verify --repair")
    point.build()
    point.follow(ran.lines)
    point.judge()


HARMS: dict[str, Harm] = {"torn": torn, "flipped bit in a": flipped, "emptied": emptied, "deleted": deleted}
_FILES: dict[str, tuple[Pick, dict[str, int]]] = {
    "data file": (data_files, {"torn": 8, "flipped bit in a": 12, "emptied": 3, "deleted": 5}),
    "tar of pictures": (tars, {"torn": 4, "flipped bit in a": 5, "emptied": 1, "deleted": 4}),
    "log entry": (log_entries, {"torn": 7, "flipped bit in a": 7, "emptied": 4, "deleted": 6}),
    "seal": (seals, {"torn": 5, "flipped bit in a": 5, "emptied": 2, "deleted": 0}),
}

KINDS = [
    *(
        Kind(f"{harm} {what}", _damage(HARMS[harm], pick), share)
        for what, (pick, shares) in _FILES.items()
        for harm, share in shares.items()
        if share
    ),
    Kind("deleted log of a table", _log_gone, 4),
    Kind("log entry and its seal, both broken", _entry_and_seal, 4),
    *(Kind(f"{harm} lake.json", _marker(how), 3) for harm, how in HARMS.items()),
    Kind("kill -9 of laion verify --repair", _healer_killed, 5),
]
