"""Takedowns and deny lists as they are now, by the settings of a lake."""

from pathlib import Path

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.lake import Lake
from laion_assets.settings import Settings


def current_removals(lake: Lake, settings: Settings) -> Removals:
    """Takedowns and deny lists as they are now, outside a step."""
    takedowns = lake.scan("takedowns").collect() if lake.exists("takedowns") else None
    return load_removals(takedowns, **deny_lists(settings))


def removals_digest(lake: Lake, settings: Settings) -> str | None:
    """The digest of takedowns and deny lists, for a judgement; None where a list is not there, as on another machine.

    Raises:
        RemovalError: an entry of them is not what it has to be.
    """
    if all(Path(path).is_file() for paths in deny_lists(settings).values() for path in paths):
        return current_removals(lake, settings).digest
    return None


def deny_lists(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The files of the deny lists, by the kind of what they name."""
    deny = settings.deny
    return {"url_lists": deny.url_lists, "domain_lists": deny.domain_lists, "hash_lists": deny.hash_lists}
