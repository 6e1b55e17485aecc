"""How values of settings are written, where that is more than one word, and what earlier versions wrote."""

import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Final

from laion_assets.common.listed import listed

_OLD_ALLOWANCE: Final = "allow_private_addresses"
_OLD_VARIABLE: Final = f"LAION_DOWNLOAD__{_OLD_ALLOWANCE.upper()}"
_LOOPBACK: Final = ["127.0.0.0/8", "::1/128"]
_OWNER: Final = re.compile(r"team:.+|[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
_logger = logging.getLogger(__name__)


def files_of(value: object) -> object:
    """The files a variable names: a JSON list, or paths with ``:`` between them.

    Raises:
        ValueError: it begins like a JSON list, and is none.
    """
    return listed(value, f"paths with {os.pathsep} between them, or a JSON list of paths", re.escape(os.pathsep))


def owners_of(value: object) -> object:
    """Owners as a JSON list, or with commas between them: a `team:NAME` or an address, for Dagster takes no other.

    Raises:
        ValueError: one of them is neither.
    """
    owners = listed(value, "team:NAME or e-mail addresses with commas between them, or a JSON list of them")
    wrong = [name for name in owners if _OWNER.fullmatch(str(name)) is None] if isinstance(owners, list | tuple) else []
    if wrong:
        raise ValueError(f"expected team:NAME or an e-mail address, and commas between them, found {wrong[0]!r}")
    return owners


def download_options(value: object) -> object:
    """Options of downloads as written: networks as a JSON list, or with commas or spaces between them.

    Lakes of earlier versions keep ``allow_private_addresses``, set for samples: it means loopback there.

    Raises:
        ValueError: the networks begin like a JSON list, and are none.
    """
    if not isinstance(value, dict):
        return value
    options = dict(value)
    if "allowed_networks" in options:
        try:
            networks = listed(options["allowed_networks"], "a JSON list of networks", r"[,\s]")
        except ValueError as error:
            raise ValueError(f"download option allowed_networks: {error}") from error
        options["allowed_networks"] = networks
    if str(options.pop(_OLD_ALLOWANCE, "")).lower() in ("true", "1", "yes", "on", "t", "y"):
        options.setdefault("allowed_networks", _LOOPBACK)
        _logger.warning(
            "%s in the lake's settings.env counts as LAION_DOWNLOAD__ALLOWED_NETWORKS=%s: write that there instead",
            *(_OLD_VARIABLE, json.dumps(options["allowed_networks"])),
        )
    return options


def old_allowance(environment: Mapping[str, str]) -> str | None:
    """What to say of an allowance that somebody gives as earlier versions took it; None: nobody does."""
    if not any(name.upper() == _OLD_VARIABLE for name in environment):
        return None
    return (
        f"{_OLD_VARIABLE} is no more, since it opened too much: name the networks in "
        f"LAION_DOWNLOAD__ALLOWED_NETWORKS, {json.dumps(_LOOPBACK)} for this machine alone"
    )
