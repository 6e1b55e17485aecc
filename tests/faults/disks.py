"""Disks that are full or may only be read, below the lake or below its scratch."""

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from laion_assets.sample.options import CRAWLS
from tests.faults.points import Kind, Point

_TABLES = ("candidate_pairs", "unique_pairs", "images", "clip_embeddings", "filtered_pairs")
_ENOUGH = "400m"


class NoMount(Exception):
    """Nothing can be mounted here."""


def _mount(*arguments: str) -> None:
    if shutil.which("mount") is None:
        raise NoMount("there is no mount(8)")
    made = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if made.returncode:
        raise NoMount(made.stderr.strip())


@contextmanager
def _mounted(folder: Path, *arguments: str) -> Iterator[None]:
    _mount(*arguments, str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def _pages(folder: Path) -> int:
    """What the files below a folder take on a disk of pages of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def _full(where: str) -> Callable[[Point], None]:
    """A disk with less room than what is to be written to it."""

    def happen(point: Point) -> None:
        table = point.chance.choice(_TABLES)
        whole = _pages(point.root)
        point.without(table)
        room = int((whole - _pages(point.root)) * point.chance.uniform(0, 0.9 if where == "lake" else 0.4))
        folder = point.root if where == "lake" else point.root / ".staging"
        aside = point.place.folder / "aside"
        if where == "lake":
            point.root.rename(aside)
        folder.mkdir(parents=True, exist_ok=True)
        with _mounted(folder, "-t", "tmpfs", "-o", f"size={_ENOUGH}", "tmpfs"):
            if where == "lake":
                shutil.copytree(aside, folder, dirs_exist_ok=True)
            used = shutil.disk_usage(folder).used
            _mount("-o", f"remount,size={used + room // 4096 * 4096 + 4096}", str(folder))
            ran = point.hear(point.place.build(until=table), codes=(0, 1, 2))
            if ran.code:
                line = point.advice(ran)
                assert "the disk is full" in line, f"{point}: {ran.said}"
            point.verify()
            _mount("-o", f"remount,size={_ENOUGH}", str(folder))
            point.recovery.append("make room")
            point.build()
            point.judge()

    return happen


def _read_only(point: Point) -> None:
    table = point.chance.choice((*_TABLES, ""))
    if table:
        point.without(table)
    with _mounted(point.root, "--bind", str(point.root)):
        _mount("-o", "remount,ro,bind", str(point.root))
        for command in (("status",), ("tables",), ("verify",), ("sql", "SELECT count(*) FROM wat_files")):
            assert point.laion(*command).code == 0, command
        for command in point.chance.sample(
            [("build", *CRAWLS), ("verify", "--repair"), ("gc", "--delete"), ("takedown", "domain", "b.example")], 2
        ):
            ran = point.laion(*command, codes=(0, 1, 2))
            if ran.code:
                assert "ead-only" in point.advice(ran), f"{point}: {command}: {ran.said}"
            else:
                may = command[0] in ("verify", "gc") or (command[0] == "build" and not table)
                assert may, f"{point}: {command} wrote to what cannot be written to"
    point.recovery.append("let it be written to")
    point.build()
    point.judge()


def may_mount(folder: Path) -> str:
    """Why nothing can be mounted here; empty where it can."""
    try:
        with _mounted(folder, "-t", "tmpfs", "-o", "size=4096", "tmpfs"):
            return ""
    except (NoMount, subprocess.CalledProcessError, OSError) as error:
        return f"no small disk can be mounted here: {error or errno.EPERM}"


KINDS = [
    Kind("full disk below the lake", _full("lake"), 6, needs_mount=True),
    Kind("full disk below scratch", _full("scratch"), 4, needs_mount=True),
    Kind("read-only lake", _read_only, 4, needs_mount=True),
]
