"""Image addresses: resolved as a browser would, and sorted into those that can be pairs and those that cannot."""

from functools import cache

import polars as pl

from laion_assets.urls import resolve_url

MAX_URL_LENGTH = 4096
"""Characters; longer addresses carry data or session state rather than a place."""

TRACKING_PIXEL_PATTERN = (
    r"(?i)(?:"
    # files that are called what they are
    r"/(?:1x1|_?(?:pixel|spacer|blank|transparent|trans|clear|empty|shim|dot|px)(?:[_-]?(?:1x1|gif|pixel|img))?)\.(?:gif|png)(?:[?#]|$)"
    r"|/1x1[_.-]?(?:pixel|trans(?:parent)?)\.(?:gif|png)"
    # the counters of well-known services
    r"|^https?://(?:www\.)?facebook\.com/tr[/?]"
    r"|^https?://(?:[a-z0-9.-]+\.)?(?:google-analytics\.com|googleadservices\.com|doubleclick\.net|scorecardresearch\.com"
    r"|quantserve\.com|statcounter\.com|bat\.bing\.com|px\.ads\.linkedin\.com|pixel\.wp\.com|amazon-adsystem\.com"
    r"|mc\.yandex\.ru|informer\.yandex\.ru|counter\.yadro\.ru|top-fwz1\.mail\.ru|counter\.rambler\.ru|hitwebcounter\.com)/"
    r"|/(?:matomo|piwik)\.php\?"
    r")"
)
"""Addresses of images that exist to be counted, or to take up space: never of a picture. RE2 and Rust syntax."""

TEMPLATE_PATTERN = (
    r"(?i)(?:"
    # ${…} and {{…}}; an escape may be escaped again where one address stands inside another
    # (behind a backslash it is TeX: a picture of a formula)
    r"(?:\$|%(?:25)*24|\{|%(?:25)*7B)(?:\{|%(?:25)*7B)(?:[^\\%]|%(?:25)*(?:[0-46-9a-f][0-9a-f]|5[0-9abd-f])|$)"
    # {% … %} and <% … %>, whose percent sign is no escape
    r"|(?:\{|<|%7B|%3C)%(?:25|[^0-9a-f}]|[0-9a-f][^0-9a-f])"
    # <?php … ?> and <?= … ?>; #{…}, which a browser takes for a fragment, but not JSON there
    r"|(?:<|%3C)\?(?:php|=)|#(?:\{|%7B)(?:[^\"%]|%(?:[013-9a-f][0-9a-f]|2[013-9a-f])|$)"
    r")"
)
"""References and addresses in which a template's variable was never filled in: whoever answers, it is not the picture
that was meant. The end of the variable need not be there: a quote within it ends the attribute. RE2 and Rust syntax."""

_DATA = r"^[\x00-\x20]*(?i)data:"
_NOTHING = r"^[\x00-\x20]*$"


def resolve(links: pl.DataFrame) -> pl.DataFrame:
    """Resolve image references against their pages, by the URL standard.

    Args:
        links: ``reference`` (String), ``base`` (String: the absolute address to resolve against, or null) and, where
            they are known, ``page_url`` (String: the address of the page itself) and ``encoding`` (String: a label of
            the page's, for what is not ASCII in a query).

    Returns:
        The frame with two columns more: ``url`` (String: the standard's serialisation without fragment) and ``fault``
        (String: null where ``url`` is an absolute http(s) address of at most ``MAX_URL_LENGTH`` characters, and
        otherwise the first reason why not: ``data_url``, ``no_url``, ``not_http``, ``template``, ``bad_url``,
        ``page_itself``, ``url_too_long``, ``tracking_pixel``).
    """
    reference, url = pl.col("reference"), pl.col("url")
    is_data = reference.str.contains(_DATA)
    known = cache(resolve_url)
    asked = links.select(
        pl.when(~is_data & ~reference.str.contains(_NOTHING)).then(reference),
        "base",
        *(["encoding"] if "encoding" in links.columns else []),
    )
    urls = [None if row[0] is None else known(*row) for row in asked.iter_rows()]
    links = links.with_columns(url=pl.Series(urls, dtype=pl.String))
    places = [name for name in ("base", "page_url") if name in links.columns]
    own = [pl.Series(name, [known(place or "") for place in links[name]], dtype=pl.String) for name in places]
    return links.with_columns(
        fault=pl.when(is_data | url.str.starts_with("data:"))
        .then(pl.lit("data_url"))
        .when(reference.is_null() | reference.str.contains(_NOTHING))
        .then(pl.lit("no_url"))
        .when(~url.str.contains(r"^https?:"))
        .then(pl.lit("not_http"))
        .when(reference.str.contains(TEMPLATE_PATTERN) | url.str.contains(TEMPLATE_PATTERN))
        .then(pl.lit("template"))
        .when(url.is_null())
        .then(pl.lit("bad_url"))
        .when(pl.any_horizontal(_one_page(url) == _one_page(pl.lit(place)) for place in own))
        .then(pl.lit("page_itself"))
        .when(url.str.len_chars() > MAX_URL_LENGTH)
        .then(pl.lit("url_too_long"))
        .when(url.str.contains(TRACKING_PIXEL_PATTERN))
        .then(pl.lit("tracking_pixel"))
    )


def page_base(page_url: str, declared: str | None) -> str | None:
    """The address a page's references are resolved against: the HTML standard's document base URL.

    Args:
        page_url: The page's own address.
        declared: The ``href`` of its ``<base>``, null if it has none.

    Returns:
        The declared base resolved against the page; where there is none, or it is no address, or one of the schemes
        ``data`` and ``javascript``, the page where that is http(s); else null.
    """
    page = resolve_url(page_url)
    if page is not None and not page.startswith(("http:", "https:")):
        page = None
    base = resolve_url(declared, page) if declared else None
    return page if base is None or base.startswith(("data:", "javascript:")) else base


def _one_page(url: pl.Expr) -> pl.Expr:
    """What is left of an address when what does not lead to another page is taken away."""
    return url.str.replace(r"^https?:", "").str.strip_suffix("?")
