"""Image addresses: resolved as a browser would, and sorted into those that can be pairs and those that cannot."""

from urllib.parse import urljoin

import polars as pl

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

# Scheme, optional user info, host name or bracketed address, optional port.
_HTTP = (
    r"^https?://(?:[^\s/?#@\[\]\\]*@)?(?:[^\s/?#@:\[\]\\%<>\x22`{}|^]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?(?:[/?#]|$)"
)
_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*:"
# Relative references whose resolution is more than putting strings together: dot segments, queries, fragments,
# parameters, empty segments, empty components; and bases that have such segments.
_NEEDS_URLJOIN = (
    r"^(?:[?#;.]|[^/?#]*:|//[^/?#]*[:\[\]\\ ]|https?:(?:[^/]|/[^/]|$))|/\.{1,2}(?:[/?#;]|$)|.//|[?#;](?:[?#;]|$)"
)
_DIFFICULT_ABSOLUTE = r"/\.{1,2}(?:[/?#;]|$)|[?#;](?:[?#;]|$)"
_DIFFICULT_BASE = r"/\.{1,2}(?:[/?#;]|$)|^https?://[^?#]*//"
_STRIPPED = r"^[\x00-\x20]+|[\x00-\x20]+$|[\t\r\n]"


def resolve(links: pl.DataFrame) -> pl.DataFrame:
    """Resolve image references against their pages.

    The rules are those of RFC 3986 with what browsers add to them: surrounding controls and spaces and inner tabs and
    line breaks are removed, a space becomes ``%20``, the scheme is in lower case. Nothing else is rewritten, so an
    address stays what its page says. References that need no more than joining strings are joined by polars;
    ``urllib.parse.urljoin`` does the rest, and defines what is right for all.

    Args:
        links: ``reference`` (String) and ``base`` (String: the absolute address to resolve against, or null).

    Returns:
        The frame with two columns more: ``url`` (String) and ``fault`` (String: null where ``url`` is an absolute
        http(s) address of at most ``MAX_URL_LENGTH`` characters, and otherwise the reason why not: ``no_url``,
        ``data_url``, ``not_http``, ``bad_url``, ``url_too_long``, ``tracking_pixel``).
    """
    reference, base = pl.col("reference"), pl.col("base")
    links = links.with_columns(
        reference=pl.when(reference.str.contains(_STRIPPED))
        .then(reference.str.replace_all(_STRIPPED, ""))
        .otherwise(reference)
    )
    is_data = reference.str.starts_with("data:") | reference.str.contains(r"^(?i)data:")
    scheme = base.str.extract(r"^(https?:)")
    origin = base.str.extract(r"^(https?://[^/?#]*)")
    folder = pl.coalesce(base.str.extract(r"^(https?://[^/?#]*/(?:[^?#]*/)?)"), origin + "/")
    plain = base.str.contains(r"^https?://[^/?#]") & ~base.str.contains(_DIFFICULT_BASE)
    links = links.with_columns(
        url=pl.when(is_data | (reference == ""))
        .then(pl.lit(""))
        .when(reference.str.contains(r"^https?://[^/]") & ~reference.str.contains(_DIFFICULT_ABSOLUTE))
        .then(reference)
        .when(reference.str.contains(_NEEDS_URLJOIN) | ~plain.fill_null(value=False))
        .then(None)
        .when(reference.str.starts_with("//"))
        .then(scheme + reference)
        .when(reference.str.starts_with("/"))
        .then(origin + reference)
        .otherwise(folder + reference)
    )
    links = _with_joined(links).with_columns(
        url=pl.col("url")
        .str.replace(r"^(?i)http:", "http:")
        .str.replace(r"^(?i)https:", "https:")
        .str.replace_all(" ", "%20", literal=True)
    )
    url = pl.col("url")
    return links.with_columns(
        fault=pl.when(is_data)
        .then(pl.lit("data_url"))
        .when(reference.is_null() | (reference == ""))
        .then(pl.lit("no_url"))
        .when(url.str.contains(_SCHEME) & ~url.str.contains(r"^https?:"))
        .then(pl.lit("not_http"))
        .when(~url.str.contains(_HTTP).fill_null(value=False) | url.str.contains(r"[\x00-\x1F\x7F]"))
        .then(pl.lit("bad_url"))
        .when(url.str.len_chars() > MAX_URL_LENGTH)
        .then(pl.lit("url_too_long"))
        .when(url.str.contains(TRACKING_PIXEL_PATTERN))
        .then(pl.lit("tracking_pixel"))
    )


def page_base(page_url: str, declared: str | None) -> str | None:
    """The address a page's references are resolved against.

    Args:
        page_url: The page's own address.
        declared: The ``href`` of its ``<base>``, null if it has none.

    Returns:
        The declared base resolved against the page where that is http(s), else the page where that is; else null.
    """
    joined = _join(page_url, declared.strip()) if declared else None
    for candidate in (joined, page_url):
        if candidate is not None and candidate[:8].lower().startswith(("http://", "https://")):
            return candidate
    return None


def _with_joined(links: pl.DataFrame) -> pl.DataFrame:
    """Fill the urls that are still null by ``urljoin``, each distinct (base, reference) once."""
    open_questions = (
        links.filter(pl.col("url").is_null() & pl.col("reference").is_not_null()).select("base", "reference").unique()
    )
    if open_questions.is_empty():
        return links
    joined = [_join(base or "", reference) for base, reference in open_questions.iter_rows()]
    answers = open_questions.with_columns(joined=pl.Series(joined, dtype=pl.String))
    return (
        links.join(answers, on=["base", "reference"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(url=pl.coalesce("url", "joined"))
        .drop("joined")
    )


def _join(base: str, reference: str) -> str | None:
    try:
        return urljoin(base, reference)
    except ValueError:  # brackets that hold no address, ports that are no number
        return None
