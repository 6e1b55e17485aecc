"""Everything that is wrong with the sample's web on purpose.

Three tables: answers a server should not give, texts that are no captions, addresses that are none. Each row names the
outcome that a correct pipeline records, in the words of the extraction's drops, the download's failures and the
filter's reasons. A few rows are slow; there are only a handful of those, whatever the size of the sample.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from laion_assets.sample import captions, web
from laion_assets.sample.options import CRAWLS, SampleOptions
from laion_assets.sample.pages import Damage
from laion_assets.sample.plan import Pair, SamplePlan, make_pairs, place_picture, sight
from laion_assets.sample.web import Reply
from laion_assets.sample.world import Scenes, random_stream, render, scenes_from

Body = Callable[[NDArray[np.uint8]], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadAnswer:
    """An url that is answered in another way than with its picture."""

    kind: str
    outcome: str | None
    share: float = 0.0
    """Part of `SampleOptions.pairs`, at least one."""
    most: int = 1_000_000
    """Never more than these."""
    reply: Reply | None = None
    body: Body | None = None
    """Makes the body from the picture; None: no body."""
    extension: str = "jpg"
    moved: str | None = None
    """Where the redirect leads; `{}` stands for the path of the picture itself."""


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    return web.encode(picture, "jpg")


def _html(picture: NDArray[np.uint8]) -> bytes:
    page = f"<!DOCTYPE html><html><head><title>Not found</title></head><body>{'<p>gone</p>' * 40}</body></html>"
    return page.encode() + b"<!-- %d -->" % int(picture.mean())


def _headless(picture: NDArray[np.uint8]) -> bytes:
    """A JPEG that stops within its tables, so that no decoder finds a pixel."""
    return _jpeg(picture)[:330]


def _tiny(_: NDArray[np.uint8]) -> bytes:
    return web.plain_png(1, 1)


def _banner(_: NDArray[np.uint8]) -> bytes:
    return web.plain_png(1400, 12)


def _bomb(_: NDArray[np.uint8]) -> bytes:
    return web.bomb_png()


ANSWERS: Final = (
    BadAnswer(kind="http_404", outcome="http_4xx", share=0.012, reply=Reply(status=404)),
    BadAnswer(kind="http_403", outcome="http_4xx", share=0.002, reply=Reply(status=403)),
    BadAnswer(kind="http_410", outcome="http_4xx", share=0.002, reply=Reply(status=410)),
    BadAnswer(kind="http_500", outcome="http_5xx", share=0.002, reply=Reply(status=500)),
    BadAnswer(kind="http_503", outcome="http_5xx", share=0.001, most=8, reply=Reply(status=503)),
    BadAnswer(kind="html_as_jpeg", outcome="not_an_image", share=0.004, body=_html),
    BadAnswer(kind="truncated", outcome="decode", share=0.003, body=_headless),
    BadAnswer(kind="tiny", outcome="too_small", share=0.006, body=_tiny, extension="png"),
    BadAnswer(kind="few_bytes", outcome="too_few_bytes", share=0.005, body=web.small_jpeg),
    BadAnswer(kind="banner", outcome="aspect", share=0.003, body=_banner, extension="png"),
    BadAnswer(kind="bomb", outcome="too_large", share=0.0002, most=3, body=_bomb, extension="png"),
    BadAnswer(
        kind="huge_claim", outcome="too_large", share=0.0002, most=3, body=_jpeg,
        reply=Reply(claimed_bytes=5_000_000_000),
    ),
    BadAnswer(
        kind="opted_out", outcome="opted_out", share=0.006, body=_jpeg,
        reply=Reply(headers={"X-Robots-Tag": "noai, noimageai"}),
    ),
    BadAnswer(
        kind="not_indexed", outcome="opted_out", share=0.002, body=_jpeg,
        reply=Reply(headers={"X-Robots-Tag": "NoIndex"}),
    ),
    BadAnswer(
        kind="others_opted_out", outcome="embedded", share=0.002, body=_jpeg,
        reply=Reply(headers={"X-Robots-Tag": "otherbot: noindex"}),
    ),
    BadAnswer(
        kind="wrong_type", outcome=None, share=0.003, body=_jpeg,
        reply=Reply(headers={"Content-Type": "application/octet-stream"}),
    ),
    BadAnswer(kind="redirected", outcome="embedded", share=0.016, body=_jpeg, moved="{}.1.jpg",
              reply=Reply(status=301)),
    BadAnswer(kind="redirected", outcome="embedded", share=0.004, body=_jpeg, moved="{}.2.jpg",
              reply=Reply(status=302)),
    BadAnswer(kind="redirect_loop", outcome="other", share=0.0002, most=2, moved="{}", reply=Reply(status=302)),
    BadAnswer(
        kind="redirect_to_file", outcome="blocked_address", share=0.0002, most=2, moved="file:///etc/hostname",
        reply=Reply(status=302),
    ),
    BadAnswer(kind="slow", outcome="embedded", share=0.0006, most=6, body=_jpeg, reply=Reply(delay_seconds=0.7)),
    BadAnswer(kind="dripping", outcome="timeout", share=0.0003, most=4, body=_jpeg, reply=Reply(drip_seconds=0.25)),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class BadText:
    """An alt text that is no caption, beside a picture that is in order."""

    kind: str
    outcome: str | None
    share: float
    texts: tuple[str, ...]
    """`{}` stands for a number."""


TEXTS: Final = (
    BadText(kind="too_short", outcome="too_short", share=0.020,
            texts=("img", "logo", "red", "★", "…", "1/2", "Bild", "円")),
    BadText(
        kind="file_name", outcome="file_name", share=0.012,
        texts=("IMG_{}.jpg", "DSC0{}.JPG", "photos/card-{}.png", "Screenshot_2026-01-{}.png", "image{}.webp"),
    ),
    BadText(
        kind="markup", outcome="markup", share=0.006,
        texts=(
            '<b>New in our shop:</b> article {}', '<img src="x{}.png" alt="">',
            "[caption]Sheet {} of our series[/caption]",
            "<p>The finest paper, sheet {}</p>", "{{{{ product.title }}}} {}",
        ),
    ),
    BadText(
        kind="too_long", outcome="too_long", share=0.001,
        texts=("Sheet {}. " + "Every sheet is printed to order and leaves our workshop within three days. " * 28,),
    ),
)  # fmt: skip

_PLACEHOLDER: Final = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

ADDRESSES: Final[tuple[tuple[str, str | None, float, int, str], ...]] = (
    ("data_url", "data_url", 0.004, 60, _PLACEHOLDER),
    ("ftp", "not_http", 0.001, 20, "ftp://ftp.example.org/cards/{}.jpg"),
    ("file", "not_http", 0.001, 20, "file:///C:/Pictures/{}.jpg"),
    ("script", "not_http", 0.001, 20, "javascript:show({})"),
    ("bad_url", "bad_url", 0.002, 30, "http://[cards/{}.jpg"),
    ("tracking_pixel", "tracking_pixel", 0.004, 60, "https://www.facebook.com/tr?id={}&ev=PageView&noscript=1"),
    ("unknown_host", "dns", 0.0002, 2, "http://pictures.invalid/{}.jpg"),
    ("no_server", "connect", 0.0002, 3, "http://127.0.0.1:2/{}.jpg"),
)
"""(kind, outcome, share, most, url with `{}` for a number)."""

MOJIBAKE: Final = 0.03
"""Part of the ordinary captions that are not ASCII and whose UTF-8 was once read as Windows-1252."""
UNTIDY: Final = 0.04
"""Part of the ordinary captions with blanks, line ends and no-break spaces where they do not belong."""
LAZY: Final = 0.003
"""Further pictures loaded by script: `src` holds a placeholder, `data-src` the picture, which only a WARC shows."""

DAMAGES: Final[tuple[tuple[Damage, str | None, tuple[int, int]], ...]] = (
    ("length_too_long", None, (2, 2)),
    ("length_too_short", "bad_record", (2, 1)),
    ("clipped", "bad_record", (1, 1)),
    ("corrupt", "bad_record", (1, 1)),
    ("not_json", "bad_record", (2, 2)),
    ("odd_types", None, (2, 1)),
    ("invalid_utf8", None, (1, 2)),
    ("lone_surrogate", None, (1, 2)),
)
"""(damage, outcome of the page's pairs in a WAT, pages in the first and the second crawl).

A reader may recover a record that claims too many bytes: it ends where its gzip member does.
"""


def add_dirt(plan: SamplePlan, options: SampleOptions) -> None:
    """Add everything in this module to an ordinary plan."""
    rng = random_stream("crawl", options.seed, part=2)
    _spoil_alts(rng, plan)
    ordinary = len(plan.pictures)
    for answer in ANSWERS:
        _add_answer(rng, plan, options, answer)
    for text in TEXTS:
        _add_text(rng, plan, options, text, ordinary)
    _add_addresses(rng, plan, options)
    _add_lazy(rng, plan, options)
    _add_broken(rng, plan, options)


def _number(options: SampleOptions, share: float, most: int = 1_000_000) -> int:
    return min(most, max(1, round(options.pairs * share)))


def _spoil_alts(rng: np.random.Generator, plan: SamplePlan) -> None:
    """Write some captions in ways that normalisation must undo."""
    for pair, broken, untidy in zip(plan.pairs, *rng.random((2, len(plan.pairs))).tolist(), strict=True):
        if not pair.text.isascii() and pair.language != "ja" and broken < MOJIBAKE:
            pair.alt = _misread(pair.text)
            if pair.alt is not None:
                pair.kind = "mojibake"
        elif untidy < UNTIDY:
            first, _, rest = pair.text.partition(" ")
            blank = ("\n        ", "\u00a0", "  ", " \t")[int(untidy / UNTIDY * 4)]
            pair.alt = f"  {first}{blank}{rest}\n" if rest else f"{blank}{first} "
            pair.kind = "untidy"


def _misread(text: str) -> str | None:
    """UTF-8 taken for Windows-1252; None where that encoding lacks a byte."""
    try:
        return text.encode().decode("cp1252")
    except UnicodeDecodeError:
        return None


def _more_pairs(
    rng: np.random.Generator, plan: SamplePlan, options: SampleOptions, n: int, kind: str, outcome: str | None
) -> list[Pair]:
    """Pairs of `n` new pictures with captions that fit; the pictures' files are still to be made."""
    start = len(plan.scenes)
    fresh = scenes_from(rng, n)
    plan.scenes = Scenes(
        np.concatenate([plan.scenes.attributes, fresh.attributes]),
        np.concatenate([plan.scenes.variation, fresh.variation]),
    )
    plan.pictures.extend(place_picture(rng, scene, options.seed) for scene in range(start, start + n))
    owners = np.arange(len(plan.pictures) - n, len(plan.pictures))
    pairs = make_pairs(rng, plan, options, owners, fresh.attributes, captions.draw_mentions(rng, n))
    for pair in pairs:
        pair.kind, pair.outcome = kind, outcome
    return pairs


def _add_answer(rng: np.random.Generator, plan: SamplePlan, options: SampleOptions, answer: BadAnswer) -> None:
    n = _number(options, answer.share, answer.most)
    pairs = _more_pairs(rng, plan, options, n, answer.kind, answer.outcome)
    pictures = [plan.pictures.pop() for _ in range(n)][::-1]
    rendered = render(plan.scenes.take(np.array([picture.scene for picture in pictures])), 80)
    for picture, pixels, pair in zip(pictures, rendered, pairs, strict=True):
        path = f"{picture.path.rpartition('.')[0]}.{answer.extension}"
        pair.url = f"http://{picture.host}:{options.port}{path}"
        if answer.outcome not in (None, "embedded", "opted_out"):
            pair.matched, pair.contradicted = None, []
        body = answer.body(pixels) if answer.body else None
        if answer.moved is None:
            plan.files.append((path, body, answer.reply))
            continue
        target = answer.moved.format(path)
        status = answer.reply.status if answer.reply else 302
        plan.files.append((path, None, Reply(status=status, headers={"Location": target})))
        if body is not None and target.endswith(".2.jpg"):
            plan.files.append((target, None, Reply(status=301, headers={"Location": f"{path}.1.jpg"})))
            target = f"{path}.1.jpg"
        if body is not None:
            plan.files.append((target, body, None))
    sight(rng, pairs, again=False)
    plan.pairs.extend(pairs)


def _add_text(rng: np.random.Generator, plan: SamplePlan, options: SampleOptions, text: BadText, ordinary: int) -> None:
    known = {(pair.url, pair.text) for pair in plan.pairs}
    pairs = []
    for number in range(_number(options, text.share)):
        url = plan.pictures[rng.integers(ordinary)].url(options.port)
        alt = text.texts[number % len(text.texts)].format(rng.integers(1000, 9999)).strip()
        if (url, alt) not in known:
            known.add((url, alt))
            pairs.append(Pair(url, alt, kind=text.kind, outcome=text.outcome))
    sight(rng, pairs, again=False)
    plan.pairs.extend(pairs)


def _add_addresses(rng: np.random.Generator, plan: SamplePlan, options: SampleOptions) -> None:
    for kind, outcome, share, most, url in ADDRESSES:
        pairs = _more_pairs(rng, plan, options, _number(options, share, most), kind, outcome)
        del plan.pictures[-len(pairs) :]
        for pair in pairs:
            pair.url = pair.src = url.format(rng.integers(100_000, 999_999))
            pair.matched = None
        unique = list({(pair.url, pair.text): pair for pair in pairs}.values())
        sight(rng, unique, again=False)
        plan.pairs.extend(unique)


def _add_lazy(rng: np.random.Generator, plan: SamplePlan, options: SampleOptions) -> None:
    pairs = _more_pairs(rng, plan, options, _number(options, LAZY), "lazy", None)
    for pair in pairs:
        pair.src = _PLACEHOLDER
        pair.more = f'data-src="{pair.url.replace("&", "&amp;")}" class="lazy"'
    sight(rng, pairs, again=False)
    plan.pairs.extend(pairs)


def _add_broken(rng: np.random.Generator, plan: SamplePlan, options: SampleOptions) -> None:
    """Pages of their own, with pictures of their own, for the records that are broken."""
    for damage, outcome, pages in DAMAGES:
        groups = plan.broken.setdefault(damage, [])
        for crawl, number in zip(CRAWLS, pages, strict=True):
            for _ in range(number):
                pairs = _more_pairs(rng, plan, options, 5, damage, outcome)
                for pair in pairs:
                    pair.sightings.append(crawl)
                plan.pairs.extend(pairs)
                groups.append(pairs)
