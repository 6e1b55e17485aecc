"""What hosts say of their pictures, asked once a day: robots.txt, tdmrep.json and ai.txt.

What a host answered lies in a folder that all workers and partitions share, a file an origin and day; a file made
beside it, which only one of them can make, says who asks. Whoever finds it waits for the answer.
"""

import base64
import hashlib
import json
import os
import shutil
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from laion_assets.common.digests import text_digest
from laion_assets.common.files import write_file
from laion_assets.consent.robots import MAX_BYTES, AiTxt, Robots
from laion_assets.consent.signals import SIGNALS, Said
from laion_assets.consent.tdmrep import TdmRep, TdmRepError
from laion_assets.download.options import DownloadOptions

ROBOTS_TXT: Final = "/robots.txt"
DOCUMENTS: Final = (ROBOTS_TXT, "/.well-known/tdmrep.json", "/ai.txt")
"""What a host is asked for."""
_MOST_REMEMBERED: Final = 4096
"""Origins that a process keeps in memory; the others are read again."""
_MOST_BYTES: Final = 16 * 1024**2
"""Bytes of documents that it keeps so; parsed they take several times as much."""
_KEPT_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Document:
    """One document as a host answered."""

    status: int | None
    """HTTP status; None where nothing came back."""
    body: bytes = b""
    """Its first bytes, as many as are read of a robots.txt."""
    failure: str | None = None
    """Why nothing came back, as downloads fail."""
    detail: str | None = None
    """What exactly went wrong."""


@dataclass(frozen=True, slots=True)
class HostSays:
    """What an origin says of its addresses."""

    robots: Robots
    tdmrep: TdmRep
    ai_txt: AiTxt
    sha256: dict[str, str]
    """Of the bytes of each document that is there."""
    bytes: int
    """Of all documents."""
    unreachable: Document | None
    """What came instead of a robots.txt, where nothing may be fetched since nobody answered."""

    @classmethod
    def of(cls, documents: dict[str, Document], agent: str) -> "HostSays":
        """What documents say; one that is missing or cannot be read says nothing, but for an unreachable robots.txt."""
        robots, tdmrep, ai_txt = (documents.get(path, Document(404)) for path in DOCUMENTS)
        try:
            rules = TdmRep.read(tdmrep.body) if _is_there(tdmrep) else TdmRep(())
        except TdmRepError:
            rules = TdmRep(())
        judged = Robots.of_answer(robots.status, robots.body, agent)
        return cls(
            judged,
            rules,
            AiTxt.read(ai_txt.body if _is_there(ai_txt) else b"", agent),
            {path: hashlib.sha256(found.body).hexdigest() for path, found in documents.items() if _is_there(found)},
            sum(len(found.body) for found in documents.values()),
            None if judged.reachable else robots,
        )

    def said(self, url: str) -> list[Said]:
        """What holds for an address of this origin."""
        return [*self.robots.said(url), *self.tdmrep.said(url), *self.ai_txt.said(url)]


def _is_there(document: Document) -> bool:
    return document.status is not None and 200 <= document.status < 300


class HostBook:
    """What origins answered today.

    Args:
        folder: shared by all who ask, on one machine or on a file system of several.
        agent: Product token that robots.txt is read for.
        patience: Seconds after which an origin that somebody began to ask counts as not asked.
        today: the day, in UTC.
    """

    def __init__(
        self,
        folder: Path,
        agent: str,
        patience: float,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._folder = folder
        self._agent = agent
        self._patience = patience
        self._today = today
        self._known: OrderedDict[tuple[str, str], HostSays] = OrderedDict()
        self._bytes = 0

    def get(self, origin: str) -> HostSays | None:
        """What an origin answered today, None where it has not yet."""
        key = (origin, self._today().isoformat())
        known = self._known.get(key)
        if known is None:
            path = self._path(*key)
            try:
                known = self._remember(key, _documents(json.loads(path.read_bytes())["documents"]))
            except FileNotFoundError:
                return None
            except (ValueError, KeyError, TypeError, AttributeError):  # torn, or of another version: asked for anew
                path.unlink(missing_ok=True)
                path.with_suffix(".asked").unlink(missing_ok=True)
                return None
        self._known.move_to_end(key)
        return known

    def begin(self, origin: str) -> bool:
        """Whether the caller is the one to ask an origin now."""
        asking = self._path(origin, self._today().isoformat()).with_suffix(".asked")
        asking.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(asking, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if not _is_older(asking, self._patience):
                return False
            os.utime(asking)  # its process died; of two that find it at once both ask, which is no harm
        return True

    def put(self, origin: str, documents: dict[str, Document]) -> HostSays:
        """Keep what an origin answered."""
        key = (origin, self._today().isoformat())
        says = self._remember(key, documents)  # before anybody else has to read it, too
        told = {path: asdict(found) | {"body": _packed(found.body)} for path, found in documents.items()}
        self._path(*key).parent.mkdir(parents=True, exist_ok=True)
        write_file(self._path(*key), json.dumps({"origin": origin, "documents": told}))
        return says

    def _path(self, origin: str, day: str) -> Path:
        return self._folder / day / f"{text_digest(origin, digits=32)}.json"

    def _remember(self, key: tuple[str, str], documents: dict[str, Document]) -> HostSays:
        says = self._known[key] = HostSays.of(documents, self._agent)
        self._bytes += says.bytes
        while len(self._known) > 1 and (len(self._known) > _MOST_REMEMBERED or self._bytes > _MOST_BYTES):
            self._bytes -= self._known.popitem(last=False)[1].bytes
        return says


@dataclass(frozen=True, slots=True)
class Heed:
    """What a download heeds of what is said."""

    hosts: str | None = None
    """Folder of a ``HostBook``, which all downloads share; None: hosts are not asked."""
    obeyed: tuple[str, ...] = tuple(SIGNALS)
    """Names of the signals that are obeyed; the others are heard, and kept as evidence."""

    def book(self, options: DownloadOptions) -> HostBook | None:
        """What hosts allow; None where nobody asks them."""
        if self.hosts is None or not (options.respect_opt_outs and options.ask_hosts):
            return None
        return HostBook(Path(self.hosts), options.agent, 3 * len(DOCUMENTS) * options.deadline_seconds)


NOBODY_ASKED: Final = Heed()
"""Every signal is obeyed that is heard, and no host is asked."""


def asked_on(folder: Path, day: date) -> int:
    """How many origins were asked on a day."""
    return sum(1 for _ in (folder / day.isoformat()).glob("*.json"))


def forget_earlier_days(folder: Path) -> None:
    """Remove what hosts answered on days that no download to come will read."""
    oldest = (datetime.now(UTC).date() - timedelta(days=_KEPT_DAYS)).isoformat()
    for day in folder.glob("????-??-??"):
        if day.name < oldest:
            shutil.rmtree(day, ignore_errors=True)


def _documents(told: dict[str, Any]) -> dict[str, Document]:
    return {path: Document(**(one | {"body": _unpacked(one["body"])})) for path, one in told.items()}


def _packed(body: bytes) -> str:
    return base64.b85encode(zlib.compress(body, 1)).decode()


def _unpacked(text: str) -> bytes:
    try:
        return zlib.decompressobj().decompress(base64.b85decode(text), MAX_BYTES + 1)
    except zlib.error as error:
        raise ValueError("no document") from error


def _is_older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except OSError:
        return False


def cut(body: bytes) -> bytes:
    """As much of a document as is kept: one byte more than is read, so that its reader sees that it was cut."""
    return body[: MAX_BYTES + 1]
