"""The manifest of a release: every file with its SHA-256, the versions of its removals feed, and what it is made from.

It is written last. Where it is, the release is whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Protocol, Self

from laion_assets.release.feed import FEED, bytes_digest
from laion_assets.release.parts import ReleasedFile, ReleaseError

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1


class Files(Protocol):
    """What is needed of the place of a release: a lake's storage has it, and whoever has no lake may have it too."""

    uri: str

    def address(self, name: str) -> str:
        """What people call a file."""

    def read(self, name: str) -> bytes:
        """A file's content; ``FileNotFoundError`` where it is not there."""

    def replace(self, name: str, content: bytes) -> None:
        """Write a file that appears whole."""


@dataclass(frozen=True, kw_only=True)
class FeedVersion:
    """What the removals feed was at some time: so many of its first bytes."""

    rows: int
    bytes: int
    sha256: str
    at: str
    """The day it was published, 2026-11-30."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that a manifest says."""

    release: str
    files: Sequence[ReleasedFile]
    """By path."""
    feed: Sequence[FeedVersion]
    """Oldest first."""
    versions: Mapping[str, int]
    """By table, the Delta version that the release was made from."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What else is said of it, for people."""
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """The file. Equal manifests have equal bytes."""
        files = [{k: v for k, v in asdict(file).items() if v is not None} for file in self.files]
        content = {
            "format": self.format,
            "release": self.release,
            **self.told,
            "versions": dict(sorted(self.versions.items())),
            "feed": [asdict(version) for version in self.feed],
        }
        head = json.dumps(content, indent=2, ensure_ascii=False)
        lines = ",\n".join(f"    {json.dumps(file, ensure_ascii=False)}" for file in files)  # a line a file
        return f'{head[:-2]},\n  "files": [\n{lines}\n  ]\n}}\n'.encode()

    @classmethod
    def of_bytes(cls, content: bytes, where: str) -> Self:
        """What :meth:`to_bytes` wrote.

        Args:
            content: the file.
            where: it lies, for people.

        Raises:
            ReleaseError: it is no manifest, or one of a newer format.
        """
        try:
            found = json.loads(content)
            format_, release = found.pop("format"), found.pop("release")
            if format_ != FORMAT:
                raise ReleaseError(
                    f"{where}: a manifest of format {format_}, and this version reads {FORMAT}: use a newer laion"
                )
            known = {f.name for f in fields(ReleasedFile)}
            files = [ReleasedFile(**{k: v for k, v in f.items() if k in known}) for f in found.pop("files")]
            feed = [FeedVersion(**version) for version in found.pop("feed")]
            return cls(release=release, files=files, feed=feed, versions=found.pop("versions"), told=found)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ReleaseError(
                f"{where}: expected the manifest of a release, found something else ({error})"
            ) from error

    @property
    def by_path(self) -> Mapping[str, ReleasedFile]:
        """The files by their path."""
        return {file.path: file for file in self.files}


def read_manifest(place: Files) -> Manifest:
    """The manifest of the release at a place.

    Raises:
        ReleaseError: there is none, or none that can be read.
    """
    try:
        return Manifest.of_bytes(place.read(MANIFEST), place.address(MANIFEST))
    except FileNotFoundError as error:
        raise ReleaseError(
            f"{place.uri} holds no release: there is no {MANIFEST}, which is written when all else is"
        ) from error


def feed_version(feed: bytes, at: str) -> FeedVersion:
    """What stands in a manifest of a removals feed.

    Args:
        feed: all of it: a removal a line.
        at: the day it is published, 2026-11-30.
    """
    return FeedVersion(rows=feed.count(b"\n"), bytes=len(feed), sha256=bytes_digest(feed), at=at)


def publish_feed(place: Files, feed: bytes, at: str) -> Manifest:
    """Let a release have a longer removals feed: its file first, then the manifest that knows it.

    Whoever reads between the two finds a feed that goes on after what the manifest knows; the same call then makes it
    whole. Nothing is written where the feed is that already.

    Args:
        place: of the release.
        feed: all of it: what was published before, and what came since.
        at: the day, 2026-11-30.

    Returns:
        The manifest as it is now.

    Raises:
        ReleaseError: there is no release, or the feed does not begin with what was published before.
    """
    manifest = read_manifest(place)
    last = manifest.feed[-1] if manifest.feed else None
    if last is not None and bytes_digest(feed[: last.bytes]) != last.sha256:
        raise ReleaseError(
            f"{place.uri}: the removals feed of {last.at} is no beginning of the new one, and a feed only grows"
        )
    try:
        there: bytes | None = place.read(FEED)
    except FileNotFoundError:
        there = None
    if there is not None and not feed.startswith(there):
        raise ReleaseError(f"{place.address(FEED)}: holds what is no beginning of the new feed, and a feed only grows")
    if there != feed:
        place.replace(FEED, feed)
    if last is not None and last.bytes == len(feed):
        return manifest
    grown = replace(manifest, feed=[*manifest.feed, feed_version(feed, at)])
    place.replace(MANIFEST, grown.to_bytes())
    return grown
