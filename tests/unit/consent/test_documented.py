"""The table that people read says what the code goes by."""

import re
from dataclasses import fields
from pathlib import Path

from laion_assets.consent.pages import AGENT
from laion_assets.consent.policy import ConsentOptions
from laion_assets.consent.signals import SIGNALS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "consent.md"
SAID_OF = {"prefix": "paths of a host", "page": "a page", "url": "a url", "sha256": "a picture"}


def test_the_documented_table_of_signals_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == [(s.name, SAID_OF[s.subject], ", ".join(s.forbids)) for s in SIGNALS.values()]


def test_what_it_says_of_names_and_switches_holds() -> None:
    text = PAGE.read_text("utf-8")
    assert AGENT in text
    options = {option.name for option in fields(ConsentOptions)}
    assert {name.lower() for name in re.findall(r"LAION_CONSENT__(\w+)=", text)} <= options
