"""What somebody asks for when they ask for a release, and what a release is once it was begun: it never changes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from laion_assets.release.parts import ReleaseError
from laion_assets.release.writers import usual_formats

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def checked_name(name: str) -> str:
    """The name of a release, which names folders and partitions.

    Raises:
        ReleaseError: it cannot be one.
    """
    if _NAME.fullmatch(name) is None:
        raise ReleaseError(f"letters, digits and . _ - can name a release, up to 100 of them, not {name!r}")
    return name


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a release is, in full; the fields are columns of ``releases``."""

    source: str
    selection: str
    formats: tuple[str, ...]
    has_pictures: bool
    destination: str
    description: str
    license: str
    license_link: str | None
    creator: str
    contact: str
    url: str | None


@dataclass(frozen=True, kw_only=True)
class ReleaseOptions:
    """What was asked for; None where nothing was said. The fields are those of :class:`Terms`."""

    source: str | None = None
    selection: str | None = None
    formats: tuple[str, ...] | None = None
    has_pictures: bool | None = None
    destination: str | None = None
    description: str | None = None
    license: str | None = None
    license_link: str | None = None
    creator: str | None = None
    contact: str | None = None
    url: str | None = None

    def to_text(self) -> str:
        """As one line, for a tag of a run."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def of_text(cls, text: str) -> Self:
        """What :meth:`to_text` wrote.

        Raises:
            ReleaseError: it is something else.
        """
        try:
            found = json.loads(text)
            formats = found.pop("formats", None)
            return cls(**found, formats=None if formats is None else tuple(formats))
        except (ValueError, TypeError, AttributeError) as error:
            raise ReleaseError(f"no request for a release: {text!r} ({error})") from error

    def terms(self, name: str, usual: Terms, begun: Terms | None) -> Terms:
        """All of it: where nothing was said as the release was begun, or for a new one as usual.

        Args:
            name: of the release.
            usual: of a new one.
            begun: of the one that is there already; None: there is none.

        Raises:
            ReleaseError: the release that is there is another than was asked for.
        """
        given = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        if begun is None:
            return Terms(**{**asdict(usual), **given})
        others = [key for key, value in given.items() if getattr(begun, key) != value]
        if others:
            told = "; ".join(f"{_WORDS[key]} {_said(getattr(begun, key))}, not {_said(given[key])}" for key in others)
            raise ReleaseError(f"release {name} was begun with {told}: a release never changes, choose another name")
        return begun


_WORDS: Final = {
    "source": "--from", "selection": "--where", "formats": "--formats", "has_pictures": "--pictures",
    "destination": "--to", "description": "--description", "license": "--license", "license_link": "--license-link",
    "creator": "--creator", "contact": "--contact", "url": "--url",
}  # fmt: skip


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple) else repr(value)


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release that was begun: its row of ``releases``."""

    name: str
    terms: Terms
    created_at: datetime
    pairs: int
    pictures: int
    part_rows: Mapping[tuple[str, int], int]
    """Pairs by crawl and bucket, of those that have any."""
    crawls: Sequence[str]
    """The lake's crawls in order."""
    left_out: Mapping[str, int]
    subsets: Mapping[str, int]
    languages: Mapping[str, int]
    hosts: Mapping[str, int]
    versions: Mapping[str, int]
    """By table, the version that it is made from."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """What a row of ``releases`` says."""
        terms = {f.name: row[f.name] for f in fields(Terms)} | {"formats": tuple(row["formats"])}
        parts = {_place(key): rows for key, rows in _map(row["part_rows"]).items()}
        return cls(
            name=row["release"],
            terms=Terms(**terms),
            created_at=row["created_at"],
            pairs=row["pairs"],
            pictures=row["pictures"],
            part_rows=dict(sorted(parts.items())),
            crawls=tuple(row["crawls"]),
            left_out=_map(row["left_out"]),
            subsets=_map(row["subsets"]),
            languages=_map(row["languages"]),
            hosts=_map(row["hosts"]),
            versions=_map(row["source_versions"]),
        )

    def to_row(self) -> dict[str, Any]:
        """Its row, maps as Arrow takes them."""
        parts = {f"{crawl}/{bucket}": rows for (crawl, bucket), rows in self.part_rows.items()}
        maps = {"part_rows": parts, "left_out": self.left_out, "subsets": self.subsets, "languages": self.languages,
                "hosts": self.hosts, "source_versions": self.versions}  # fmt: skip
        return {
            "release": self.name,
            **asdict(self.terms),
            "formats": list(self.terms.formats),
            "created_at": self.created_at,
            "pairs": self.pairs,
            "pictures": self.pictures,
            "crawls": list(self.crawls),
            **{name: sorted(known.items()) for name, known in maps.items()},
        }

    def number(self, crawl: str, bucket: int, buckets: int) -> int:
        """The number of a part: see ``Part.number``."""
        return self.crawls.index(crawl) * buckets + bucket


def _place(key: str) -> tuple[str, int]:
    crawl, _, bucket = key.rpartition("/")
    return crawl, int(bucket)


def _map(value: Any) -> dict[str, int]:
    """A map as polars, pyarrow or DuckDB give it."""
    if isinstance(value, Mapping):
        return dict(value)
    return {e["key"]: e["value"] for e in value} if value and isinstance(value[0], Mapping) else dict(value or ())


def usual_terms(name: str, options: ReleaseOptions) -> Terms:
    """What a new release is where nothing is said: the filtered pairs, as links, in a folder of its name.

    Args:
        name: of the release.
        options: what was said; whether there are pictures decides the formats.
    """
    pictures = bool(options.has_pictures)
    return Terms(
        source="filtered_pairs",
        selection="true",
        formats=usual_formats(pictures=pictures),
        has_pictures=pictures,
        destination=str(Path(name).resolve()),
        description="Image-text pairs from the web, filtered by the agreement of picture and text.",
        license="CC-BY-4.0",
        license_link=None,
        creator="not stated",
        contact="not stated",
        url=None,
    )
