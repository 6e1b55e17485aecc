"""``laion crawls``: what the source has, and which of it the lake has."""

import logging
import os
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from laion_assets.cli.common import LakeOption, SourceOption, UsageError, out, settings_of
from laion_assets.kept_settings import LAKE_SETTINGS_FILE
from laion_assets.lake.opening import recorded_shape
from laion_assets.settings import Settings

if TYPE_CHECKING:
    from laion_assets.sources.index import Crawl


def crawls(lake: LakeOption = None, source: SourceOption = None, most: int = 20) -> None:
    """List the crawls of the source, the newest first, and which of them the lake has; and the imports of the lake."""
    settings = settings_of(lake, source)
    opened = settings.open_lake(create=False) if _has_lake(settings) else None
    entered = opened.order.sorted(opened.order.entered) if opened is not None else []
    if entered:
        out.print(Text(f"imports of this lake: {', '.join(entered)}; `laion imports` tells more"), soft_wrap=True)
    uri, listed = listed_crawls(settings)
    have = opened.ledger("crawl_snapshots").periods if opened is not None else set()
    table = Table(title=Text(uri))
    table.add_column("crawl", no_wrap=True)  # what `laion build` asks for
    for heading in ("name", "first capture", "last capture", "in the lake"):
        table.add_column(heading)
    for crawl in sorted(listed, key=lambda c: c.crawl, reverse=True)[:most]:
        dates = [f"{t:%Y-%m-%d}" if t else "" for t in (crawl.first_capture, crawl.last_capture)]
        table.add_row(Text(crawl.crawl), Text(crawl.name), *dates, "yes" if crawl.crawl in have else "")
    out.print(table)
    if len(listed) > most:
        out.print(f"{len(listed) - most} older ones are left out; --most shows more")


def _has_lake(settings: Settings) -> bool:
    return recorded_shape(settings.lake) is not None


def known_crawls(settings: Settings, names: list[str]) -> None:
    """Make sure that the source has these crawls, or that they are imports of the lake.

    Raises:
        UsageError: neither is so.
    """
    asked = {*names} - (settings.open_lake(create=False).order.entered.keys() if _has_lake(settings) else set())
    if not asked:
        return
    uri, listed = listed_crawls(settings)
    unknown = sorted(asked - {crawl.crawl for crawl in listed})
    if unknown:
        raise UsageError(
            f"{uri} has no crawl {', '.join(unknown)}; `laion crawls` lists those it has, `laion import` enters lists"
        )


def listed_crawls(settings: Settings) -> "tuple[str, list[Crawl]]":
    """The source's address and crawls. Somebody waits for the answer: it is asked for a few times at most."""
    from laion_assets.orchestration.resources import SourceResource
    from laion_assets.sources.index import list_crawls
    from laion_assets.sources.sources import RetryPolicy, SourceNotFound

    retries = logging.getLogger("laion_assets.sources")
    level = retries.level
    retries.setLevel(logging.ERROR)  # if no try succeeds the error says so
    try:
        source = SourceResource(uri=settings.source).open(RetryPolicy(attempts=3))
        return source.uri, list_crawls(source)
    except ValueError as error:
        raise UsageError(f"LAION_SOURCE: {error}") from error
    except SourceNotFound as error:
        if "LAION_SOURCE" in os.environ:  # who asks has said so, perhaps by --source
            raise
        if settings.source == Settings.model_fields["source"].default:
            raise UsageError(f"{error}: `laion demo` makes this one, --source or LAION_SOURCE names another") from error
        where = f"the lake's {LAKE_SETTINGS_FILE} names it"
        raise UsageError(f"{error}: {where}, --source or LAION_SOURCE names another") from error
    finally:
        retries.setLevel(level)
