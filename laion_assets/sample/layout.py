"""Lays the links of a plan out on pages: which page, in which language, with which kind of address."""

import posixpath
from collections import defaultdict
from typing import Final

import numpy as np

from laion_assets.sample.captions import MIXED
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.pages import Damage, ImageTag, Page
from laion_assets.sample.plan import Pair, SamplePlan
from laion_assets.sample.prose import PROSE
from laion_assets.sample.world import random_stream

STYLES: Final = ("absolute", "from_root", "from_page", "from_base", "from_relative_base", "without_scheme")
"""How the addresses of a page's pictures are written, where they allow it."""
_STYLE_SHARES: Final = (0.24, 0.24, 0.22, 0.12, 0.06, 0.12)

_LEGACY_CHARSETS: Final = {"de": "iso-8859-1", "fr": "windows-1252", "es": "iso-8859-1", "ru": "windows-1251",
                           "ja": "shift_jis"}  # fmt: skip
_SECTIONS: Final = ("cards", "school", "2026/01", "sets/large", "news")

_ICONS: Final = (ImageTag("/static/logo.svg"), ImageTag("/static/spacer.gif", ""), ImageTag("/static/arrow.gif"))
"""Decoration without an alt text, as every site has it."""


def lay_out(plan: SamplePlan, options: SampleOptions) -> dict[str, list[Page]]:
    """The pages of each crawl, in the order in which they go to its files."""
    pages: dict[str, list[Page]] = {}
    for part, crawl in enumerate(CRAWLS):
        rng = random_stream("crawl", options.seed, part=10 + part)
        broken = {id(pair) for groups in plan.broken.values() for group in groups for pair in group}
        links = [pair for pair in plan.pairs for seen in pair.sightings if seen == crawl and id(pair) not in broken]
        whole = [_page(rng, crawl, number, group, options) for number, group in enumerate(_groups(rng, links))]
        whole.extend(_other_files(rng, options))
        order = rng.permutation(len(whole))
        pages[crawl] = _with_broken([whole[index] for index in order], plan, crawl, options, rng)
    return pages


def _groups(rng: np.random.Generator, links: list[Pair]) -> list[list[Pair]]:
    """Links of one language and one host together, 10 to 25 of them."""
    piles: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    languages = list(PROSE)
    for pair in links:
        language = pair.language if pair.language in PROSE else languages[rng.integers(len(languages))]
        piles[language, _host(pair.url)].append(pair)
    groups = []
    for _, pile in sorted(piles.items()):
        shuffled = [pile[index] for index in rng.permutation(len(pile))]
        while shuffled:
            size = int(rng.integers(10, 26))
            groups.append(shuffled[:size])
            shuffled = shuffled[size:]
    return groups


def _host(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0]
    return host if host.startswith(("127.0.0.1:", "localhost:")) else ""


def _page(rng: np.random.Generator, crawl: str, number: int, links: list[Pair], options: SampleOptions) -> Page:
    spoken = [pair.language for pair in links if pair.language and pair.language != MIXED]
    language = max(sorted(set(spoken)), key=spoken.count) if spoken else "en"
    host = _host(links[0].url) or f"127.0.0.1:{options.port}"
    style = STYLES[rng.choice(len(STYLES), p=_STYLE_SHARES)]
    if style in ("absolute", "from_base"):
        host_of_page, scheme = f"www.{PROSE[language].site}.example", "https" if style == "absolute" else "http"
    else:
        host_of_page, scheme = host, "http"
    section = _SECTIONS[rng.integers(len(_SECTIONS))]
    url = f"{scheme}://{host_of_page}/{PROSE[language].site}/{section}/{crawl[-2:]}-{number:04d}.html"
    base = {"from_base": f"http://{host}/media/", "from_relative_base": "/img/"}.get(style)
    images = [ImageTag(_source(pair, host, style, url, base), pair.text if pair.alt is None else pair.alt, pair.more)
              for pair in links]  # fmt: skip
    for icon in _ICONS[: int(rng.integers(4))]:
        images.insert(int(rng.integers(len(images) + 1)), icon)
    legacy = rng.random() < 0.15 and all(pair.kind != "mojibake" for pair in links)
    charset = _LEGACY_CHARSETS.get(language, "utf-8") if legacy else "utf-8"
    return Page(
        url=url, images=images, language=language, base=base, charset=charset,
        declared_in="meta" if rng.random() < 0.3 else "header",
    )  # fmt: skip


def _source(pair: Pair, host: str, style: str, page_url: str, base: str | None) -> str:
    """The address as the page writes it."""
    if pair.src is not None:
        return pair.src
    prefix = f"http://{host}"
    if style == "absolute" or not pair.url.startswith(f"{prefix}/"):
        return pair.url
    if style == "without_scheme":
        return pair.url.removeprefix("http:")
    path = pair.url.removeprefix(prefix)
    if style == "from_root":
        return path
    start = page_url.removeprefix(prefix) if base is None else base.removeprefix(prefix)
    bare, mark, query = path.partition("?")
    return posixpath.relpath(bare, posixpath.dirname(start)) + mark + query


def _other_files(rng: np.random.Generator, options: SampleOptions) -> list[Page]:
    """Captures that are no HTML, and a page without pictures."""
    host = f"http://127.0.0.1:{options.port}"
    return [
        Page(url=f"{host}/robots.txt", html="User-agent: *\nDisallow: /private/\n", content_type="text/plain"),
        Page(
            url=f"{host}/feed.json",
            html='{"items": [], "img": "<img src=x.jpg alt=none>"}',
            content_type="application/json",
        ),
        Page(
            url=f"{host}/empty-{rng.integers(1000)}.html",
            html="<html><head><title>Soon</title></head><body></body></html>",
        ),
    ]


def _with_broken(
    pages: list[Page], plan: SamplePlan, crawl: str, options: SampleOptions, rng: np.random.Generator
) -> list[Page]:
    """Put the pages with broken records among the others, the corrupt ones in the last part of their file."""
    damaged: list[tuple[Damage, Page]] = []
    for name, groups in plan.broken.items():
        for group in groups:
            if group[0].sightings[0] != crawl:
                continue
            images = [ImageTag(pair.url, pair.text) for pair in group]
            url = f"http://127.0.0.1:{options.port}/workshop/old/{crawl[-2:]}-{name}-{len(damaged)}.html"
            page = Page(url=url, images=images, damage=name)
            damaged.append((name, page))
    for name, page in damaged:
        low, high = (0.85, 0.95) if name == "corrupt" else (0.1, 0.8)
        pages.insert(int(len(pages) * rng.uniform(low, high)), page)
    return pages
