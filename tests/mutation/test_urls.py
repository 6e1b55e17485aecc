"""3,000 damaged addresses: each is resolved or counted as a fault, and what is resolved can be asked for."""

import polars as pl
import pytest

from laion_assets.consent.urls import canonical_host, canonical_url, host_of
from laion_assets.sources.urls import resolve
from laion_assets.urls import parse_http_url, resolve_url
from tests.mutation import inputs
from tests.mutation.mutator import Mutator
from tests.mutation.watch import Watch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BASES: list[str | None] = [
    "http://pages.test/a/page.html",
    "https://größe.test/?q#f",
    "http://pages.test",
    "https://u:p@[::1]:8/x/y",
]
BASES += ["http://pages.test/a;b?c=d/e", "http://xn--gre-6ka8i.test/", None, "nonsense"]


def test_a_damaged_address_is_resolved_or_is_none(record_property):
    watch = Watch("urls")
    texts = []
    for number, mutant in Mutator(inputs.URLS, inputs.URL_TOKENS).mutants(3_000):
        text = mutant.decode("utf-8", "surrogateescape")  # with lone surrogates, as a page's script may make them
        texts.append(mutant.decode("utf-8", "replace"))
        with watch.over(number, text):
            resolved = resolve_url(text, BASES[number % len(BASES)])
            if resolved is not None:
                assert resolve_url(resolved) == resolved
            canonical = canonical_url(text)
            canonical_host(host_of(canonical))
            try:
                target = parse_http_url(text)
            except ValueError:
                watch.ends["no address"] += 1
            else:
                assert parse_http_url(target.href).href == target.href
                assert canonical_url(target.href) == canonical
                assert target.href.isascii()
                watch.ends["address"] += 1
    links = pl.DataFrame(
        {"reference": texts, "base": [BASES[number % len(BASES)] for number in range(len(texts))]},
        schema={"reference": pl.String, "base": pl.String},
    )
    found = resolve(links)
    assert found.height == links.height
    for number, (url, fault) in enumerate(found.select("url", "fault").iter_rows()):
        with watch.over(number, texts[number]):
            if fault is None:
                assert resolve_url(url) == url
                parse_http_url(url)
        watch.ends[f"as links {fault or 'kept'}"] += 1
    watch.count = len(texts)
    watch.tell(record_property)
