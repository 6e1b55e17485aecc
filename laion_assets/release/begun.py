"""The releases that a lake knows of, and the files of their parts."""

import polars as pl

from laion_assets.delta.lake import Lake
from laion_assets.delta.partition import partition_name
from laion_assets.delta.storage import Storage
from laion_assets.release.build import Earlier, is_there, released_files, sizes_at
from laion_assets.release.manifest import MANIFEST
from laion_assets.release.options import Release
from laion_assets.release.parts import ReleaseError
from laion_assets.tables import releases as tables

FILES = tables.RELEASE_FILES.name
RELEASES = tables.RELEASES.name


def begun_releases(lake: Lake) -> list[Release]:
    """Every release that was begun, the oldest first."""
    if not lake.exists(RELEASES):
        return []
    rows = lake.scan(RELEASES).collect()
    return sorted((Release.of_row(row) for row in rows.to_dicts()), key=lambda found: (found.created_at, found.name))


def begun_release(lake: Lake, name: str) -> Release | None:
    """The release of this name; None where there is none."""
    if not lake.exists(RELEASES) or lake.commit(RELEASES, {"release": name}) is None:
        return None
    [row] = lake.scan(RELEASES).filter(pl.col("release") == name).collect().to_dicts()
    return Release.of_row(row)


def known_release(lake: Lake, name: str) -> Release:
    """The release of this name.

    Raises:
        ReleaseError: there is none.
    """
    found = begun_release(lake, name)
    if found is None:
        raise ReleaseError(f"this lake knows no release {name!r}; `laion release list` names those that it does")
    return found


def files_of(lake: Lake, name: str) -> pl.DataFrame:
    """Rows of ``release_files`` of one release."""
    columns = [column.name for column in lake.tables[FILES].columns]
    if not lake.exists(FILES):
        return pl.DataFrame(schema=columns)
    return lake.scan(FILES).filter(pl.col("release") == name).select(columns).collect()


def parts_due(lake: Lake, release: Release, place: Storage) -> list[tuple[str, int]]:
    """Crawl and bucket of the parts that are not written, or whose files are gone from their place or of another size.

    Args:
        lake: the lake.
        release: the release.
        place: where it lies.
    """
    ledger, sizes = lake.ledger(FILES), sizes_at(place)
    written = dict(files_of(lake, release.name).partition_by("crawl", "bucket", as_dict=True).items())
    due = []
    for crawl, bucket in release.part_rows:
        commit = ledger.commits.get(partition_name({"release": release.name, "crawl": crawl, "bucket": bucket}))
        rows = written.get((crawl, bucket))
        trusted = commit is not None and ledger.is_trusted(commit) and rows is not None
        if not trusted or rows is None or not is_there(released_files(rows), sizes):
            due.append((crawl, bucket))
    return due


def is_whole(lake: Lake, release: Release, place: Storage) -> bool:
    """Whether a release has its manifest, and all files that its parts are to have."""
    return place.exists(MANIFEST) and not parts_due(lake, release, place)


class EarlierFiles:
    """The files that other releases wrote of one crawl and bucket, by what they are made from."""

    def __init__(self, lake: Lake, release: str, crawl: str, bucket: int) -> None:
        places = {found.name: found.terms.destination for found in begun_releases(lake)}
        self._found: dict[str, Earlier] = {}
        if not lake.exists(FILES):
            return
        of_part = (pl.col("crawl") == crawl) & (pl.col("bucket") == bucket) & (pl.col("release") != release)
        rows = lake.scan(FILES).filter(of_part).collect()
        for (name, made_from), files in rows.partition_by("release", "made_from", as_dict=True).items():
            if name in places:
                earlier = Earlier(release=str(name), place=places[str(name)], files=released_files(files))
                self._found.setdefault(str(made_from), earlier)

    def __call__(self, made_from: str) -> Earlier | None:
        """Those that are made from what has this digest."""
        return self._found.get(made_from)
