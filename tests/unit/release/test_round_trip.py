"""What goes out comes in again: the same names of pairs, texts and urls, to the last byte."""

from contextlib import closing
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from laion_assets.common.digests import text_digest
from laion_assets.pairs.identity import pair_id
from laion_assets.sources.counts import ExtractionCounts
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sources.lists.describe import describe
from laion_assets.sources.lists.pieces import ImportedList
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import open_source
from laion_assets.text.normalise import normalise
from tests.unit.release.made import CRAWL, row, write_release

ODD = [
    "she said \"no\", twice; 'no'",
    "line\nbreak\r\nand\ttab inside",
    "\u202eright to left\u202c and back",
    "日本語のキャプション、改行\u2028なし",
    "family 👩‍👩‍👧‍👦 and flag 🏳️‍🌈 picture",
    "e\u0301 decomposed and é composed",
    "null\x00inside and bell\x07 too",
    "{'json': \"like\", \\n: true}",
    "comma,semicolon;pipe|tab\tdone",
    "\U0010fffd last plane of all",
    "=1+1 as a spreadsheet reads it",
    "  spaces   at both ends  ",
]
LIMITS = ExtractionOptions(min_text_length=1, max_text_length=100_000)


def released_and_imported(texts: list[str], folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, ExtractionCounts]:
    """Pairs as a lake has them, which normalises texts, and what an import of their release makes of them."""
    pairs = (
        pl.DataFrame({"text": normalise(pl.Series("text", texts, dtype=pl.String))})
        .filter(pl.col("text").str.len_chars() > 0)
        .with_row_index("n")
        .with_columns(url=pl.format("https://pictures.example/{}.jpg?q=%22a%20b%22&lang=d%C3%A9", "n"))
        .with_columns(pair_id=pair_id("url", "text"))
    )
    rows = [
        row(p["pair_id"], url=p["url"], text=p["text"], sha256=text_digest(p["url"], digits=64))
        for p in pairs.iter_rows(named=True)
    ]
    write_release("out", {(CRAWL, 0): rows}, folder / "out", folder / "work")
    [parquet] = (folder / "out" / "data").rglob("*.parquet")
    files, counts = Files(open_source), ExtractionCounts()
    about = describe(files, str(parquet), {})
    with closing(ImportedList(files, about.uri, about.columns.taken, about.rows)) as reader:
        frames = [frame for first, count in reader.units() for frame in reader.pairs(first, count, LIMITS, counts)]
    return pairs, pl.concat(frames), counts


def assert_same(texts: list[str], folder: Path) -> None:
    out, back, counts = released_and_imported(texts, folder)
    assert counts.drops == {}
    columns = ["pair_id", "url", "text"]
    assert back.select(columns).sort("pair_id").rows() == out.select(columns).sort("pair_id").rows()
    assert back["source_hash"].to_list() == [str(name) for name in back["pair_id"]], "what it was called there is kept"
    told = {url: text_digest(url, digits=64) for url in out["url"]}
    assert dict(back.select("url", "expected_sha256").iter_rows()) == told, "pictures are held against those released"


def test_odd_texts_and_their_urls_come_back_to_the_last_byte(tmp_path):
    assert_same(ODD, tmp_path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=20, unique=True))
def test_any_text_comes_back(tmp_path_factory, texts):
    texts = [f"{n} {text}" for n, text in enumerate(texts)]
    assert_same(texts, tmp_path_factory.mktemp("trip"))
