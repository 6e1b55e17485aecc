"""Bringing the removals feed of a release up to date, without making the release anew."""

import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from laion_assets.consent.removals import Removals
from laion_assets.consent.urls import canonical_digest, canonical_url
from laion_assets.delta.engine import open_engine
from laion_assets.delta.storage import Storage
from laion_assets.release.feed import FEED, Request, append_feed, read_feed
from laion_assets.release.manifest import publish_feed, read_manifest
from laion_assets.release.verify import addresses_sql, files_with_addresses


def refresh_feed(place: Storage, requests: Iterable[Request], lists: Removals, now: datetime) -> tuple[int, int]:
    """Let a release's feed say what is to be removed by now.

    The feed's file is written first, then the manifest that knows it: killed in between, the feed goes on after what
    the manifest knows, which everybody may read, and which the next refreshing makes whole.

    Args:
        place: of the release.
        requests: for removals, as the lake has them.
        lists: what stands on deny lists. They are not published: only what the release holds of them is listed, by its
            address and, where a list names pictures, by its bytes.
        now: the time, with its zone.

    Returns:
        How many rows the feed had, and has.

    Raises:
        ReleaseError: there is no release, or its feed is not what its manifest knows.
        FeedError: its feed is none.
    """
    try:
        existing = place.read(FEED)
    except FileNotFoundError:
        existing = b""
    grown = append_feed(existing, [*requests, *_held(place, lists, now)])
    publish_feed(place, grown, now.date().isoformat())
    return len(read_feed(existing).rows), len(read_feed(grown).rows)


def _held(place: Storage, lists: Removals, now: datetime) -> list[Request]:
    """What a release holds of what stands on deny lists."""
    if lists.frame.is_empty():
        return []
    files = files_with_addresses(place, [*read_manifest(place).files])
    if not files:
        return []
    with tempfile.TemporaryDirectory(prefix="laion-feed-") as spill, open_engine(Path(spill), place) as con:
        known = lists.register(con)
        relation = addresses_sql(con, [place.address(file.path) for file in files])
        pairs = known.annotate(relation, sha256="sha256")
        by_url = f"SELECT DISTINCT url FROM ({pairs}) WHERE removal IS NOT NULL"
        pictures = known.annotate(relation, url=None, sha256="sha256")
        by_bytes = f"SELECT DISTINCT sha256 FROM ({pictures}) WHERE removal IS NOT NULL"
        urls = {canonical_digest(canonical_url(url)) for (url,) in con.execute(by_url).fetchall()}
        digests = {str(digest).lower() for (digest,) in con.execute(by_bytes).fetchall()}
    named = [*(("url", url) for url in sorted(urls)), *(("sha256", digest) for digest in sorted(digests))]
    return [Request(at=now, kind=kind, value=value, reason="listed") for kind, value in named]
