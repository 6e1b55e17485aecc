"""What people are told of a release: the figures of its card, and where each of them comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class CrawlFacts:
    """A crawl that pairs of the release come from: one of Common Crawl, or a list that was imported."""

    name: str
    source: str
    """Where it was read from: an address, or what ``crawl_snapshots`` says."""
    rows: int
    """Released pairs of it."""
    first_capture: datetime | None = None
    last_capture: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """A model whose similarities or vectors are in the release."""

    name: str
    sha256: str
    """Of its weights."""
    precision: str
    """Arithmetic of the forward pass."""
    preprocess: str
    """How pictures were prepared for it, as ``clip_embeddings`` says."""


@dataclass(frozen=True, kw_only=True)
class ThresholdFacts:
    """A similarity at and above which pairs of a subset were kept."""

    subset: str
    encoder: str
    threshold: float
    method: str = ""
    """How it was chosen, as ``calibrations`` says; empty where it is a published number."""


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """All that the files about a whole release say; none of it is looked up or counted where they are written."""

    name: str
    description: str = ""
    creator: str
    """Who publishes it."""
    contact: str
    """Where removals are asked for: an address of mail or of the web."""
    url: str = ""
    """The release's page on the web; empty where there is none."""
    license: str
    """Of the list itself, not of the pictures: an SPDX identifier, or a name of its own."""
    license_link: str = ""
    """Where the terms stand; needed where ``license`` is no SPDX identifier."""
    created_at: datetime
    """As recorded when the release was begun."""
    source: str
    """The table or SQL model that it was selected from."""
    where: str = ""
    """The condition; empty for all rows."""
    formats: Sequence[str]
    """Names of the formats that it is written in."""
    rows: int
    pictures: int
    """Pairs whose picture is in the release; 0 where it is one of links only."""
    subsets: Mapping[str, int] = field(default_factory=dict)
    """Pairs by language group."""
    languages: Mapping[str, int] = field(default_factory=dict)
    """Pairs by language: ISO codes, and ``nolang``."""
    hosts: Sequence[tuple[str, int]] = ()
    """Those with most pairs, and how many."""
    drops: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By table, in the order in which data flows: how many rows it left out, by reason."""
    crawls: Sequence[CrawlFacts] = ()
    encoders: Sequence[EncoderFacts] = ()
    policies: Sequence[str] = ()
    """Names of the filter policies that the pairs passed."""
    thresholds: Sequence[ThresholdFacts] = ()
    code_versions: Mapping[str, str] = field(default_factory=dict)
    """By table, of the code that made it."""
    versions: Mapping[str, int] = field(default_factory=dict)
    """By table, the Delta version that the release was made from."""
