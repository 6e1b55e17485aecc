"""TDMRep: reservations of rights to text and data mining, of a host, an answer and a page.

Source: TDM Reservation Protocol (TDMRep), W3C Community Group: ``/.well-known/tdmrep.json`` is a list of locations of
which the first that matches holds; the headers and ``meta`` elements ``tdm-reservation`` and ``tdm-policy``; what is
nearer to the work overrides what is farther, and only 0 and 1 say anything.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from laion_assets.consent.patterns import matches, path_of
from laion_assets.consent.signals import LONGEST_RAW, Said


class TdmRepError(ValueError):
    """A tdmrep.json that says nothing that could be read."""


@dataclass(frozen=True, slots=True)
class TdmRep:
    """The rules of one tdmrep.json: location, value and policy, in its order."""

    rules: tuple[tuple[str, object, str], ...]

    @classmethod
    def read(cls, body: bytes) -> Self:
        """What a file says; rules that lack a location are passed over.

        Raises:
            TdmRepError: it is no JSON, or no list.
        """
        try:
            found = json.loads(_text(body))
        except (ValueError, RecursionError) as error:
            raise TdmRepError(f"expected JSON, found {body[:40]!r}") from error
        if isinstance(found, dict):  # one rule, without the list around it
            found = [found]
        if not isinstance(found, list):
            raise TdmRepError(f"expected a list of rules, found {type(found).__name__}")
        rules = [{str(key).lower(): value for key, value in rule.items()} for rule in found if isinstance(rule, dict)]
        return cls(
            tuple(
                (_plain(rule["location"]), _number(rule.get("tdm-reservation")), _plain(rule.get("tdm-policy") or ""))
                for rule in rules
                if isinstance(rule.get("location"), str)
            )
        )

    def said(self, url: str) -> list[Said]:
        """What holds for an address of the host: the first rule whose location matches, and no other."""
        path = path_of(url)
        for location, value, policy in self.rules:
            where = path_of(location) if "://" in location else location
            if matches(where if where.startswith(("/", "*")) else f"/{where}", path):
                return reservation("tdmrep_file", [str(value)], policy, location)
        return []


def _text(body: bytes) -> str:
    """JSON is UTF-8 (RFC 8259); files in UTF-16 that tell so by their mark are read, too."""
    wide = body[:2] in (b"\xff\xfe", b"\xfe\xff")
    return body.decode("utf-16" if wide else "utf-8-sig", "replace")


def _plain(value: object) -> str:
    """Text that every table can hold: half of a surrogate pair, which JSON can name, is none."""
    return str(value).encode("utf-8", "replace").decode()


def _number(value: object) -> object:
    """A reservation as its specification writes it, where it was written as true or 1.0."""
    return int(value) if isinstance(value, bool | float) and value in (0, 1) else value


def reservation(signal: str, values: Iterable[str], policy: str = "", where: str = "") -> list[Said]:
    """What values of ``tdm-reservation`` say: a reservation holds where several differ; others than 0 and 1 are unset.

    Args:
        signal: by which they came.
        values: as they were written; a header may hold several, separated by commas.
        policy: Address of the policy, kept as evidence.
        where: A location, kept as evidence.
    """
    told = {part.strip(" \t\"'") for value in values for part in value.split(",")} & {"0", "1"}
    if not told:
        return []
    reserved = "1" in told
    raw = " ".join(part for part in (where, f"tdm-reservation: {max(told)}", policy) if part)
    return [Said(signal, raw[:LONGEST_RAW], not reserved, ("train",) if reserved else ())]
