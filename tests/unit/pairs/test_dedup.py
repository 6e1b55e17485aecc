"""Deduplication is what a naive reading of the rules says, in any order of rows, and every candidate is counted."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.pairs.dedup import DedupCounts, deduplicate
from laion_assets.pairs.identity import pair_id, url_id

CANDIDATES = pl.Schema(
    {
        "pair_id": pl.Int64,
        "url": pl.String,
        "text": pl.String,
        "file_number": pl.Int32,
        "record_offset": pl.Int64,
        "link_position": pl.Int32,
        "row_number": pl.Int64,
        "page_url": pl.String,
    }
)
Row = dict[str, Any]


def row(url: str, text: str, place: tuple[int, int, int], name: int | None = None) -> Row:
    if name is None:
        name = pl.select(pair_id(pl.lit(url), pl.lit(text))).item()
    return dict(zip(CANDIDATES, (name, url, text, *place, None, f"page {place}"), strict=True))


def run(
    folder: Path, rows: list[Row], history: list[Row] | None = None, removals: Removals | None = None, threads: int = 1
) -> tuple[pl.DataFrame, DedupCounts]:
    CONNECTION.execute(f"SET threads = {threads}")
    CONNECTION.register("candidates", pl.DataFrame(rows, schema=CANDIDATES).to_arrow())
    if history is not None:
        earlier = pl.DataFrame(history, schema=CANDIDATES).select("pair_id", "url", "text")
        CONNECTION.register("history", earlier.to_arrow())
    counts = deduplicate(
        CONNECTION,
        candidates="candidates",
        history=None if history is None else "history",
        removals=removals,
        output=folder / "unique.parquet",
    )
    return pl.read_parquet(folder / "unique.parquet"), counts


TOLD = [None, "ab" * 32, "cd" * 32]
CONNECTION = duckdb.connect(config={"threads": 1})


def naive(rows: list[Row], history: list[Row], removals: Removals) -> tuple[list[Row], Counter[str]]:
    """The rules of ``deduplicate``, one row at a time."""
    matcher, drops = removals.matcher(), Counter[str]()
    earlier = {pair["pair_id"]: (pair["url"], pair["text"]) for pair in history}
    names: dict[int, list[Row]] = defaultdict(list)
    for candidate in sorted(rows, key=lambda r: (r["file_number"], r["record_offset"], r["link_position"])):
        if match := matcher.match_url(candidate["url"]):
            drops[f"removed_{match}"] += 1
        elif matcher.match_pair_id(candidate["pair_id"]):
            drops["removed_pair"] += 1
        else:
            names[candidate["pair_id"]].append(candidate)
    kept = []
    for name, same_name in sorted(names.items()):
        holder = earlier.get(name, (same_name[0]["url"], same_name[0]["text"]))
        copies = [candidate for candidate in same_name if (candidate["url"], candidate["text"]) == holder]
        drops["hash_collision"] += len(same_name) - len(copies)
        drops["duplicate"] += max(len(copies) - 1, 0)
        if name in earlier:
            drops["seen_in_earlier_crawl"] += bool(copies)
        else:
            kept.append(copies[0] | {"duplicate_count": len(copies)})
    return kept, +drops


def test_of_copies_the_one_at_the_lowest_place_stays(tmp_path: Path) -> None:
    rows = [row("u", "a", (1, 5, 0)), row("u", "a", (0, 9, 1)), row("u", "a", (0, 9, 0)), row("u", "a", (0, 10, 0))]
    unique, counts = run(tmp_path, rows)
    assert unique.rows(named=True) == [rows[2] | {"duplicate_count": 4}]
    assert counts == DedupCounts(rows_in=4, rows_out=1, drops={"duplicate": 3})
    assert unique.schema == {**CANDIDATES, "duplicate_count": pl.Int32}


def test_places_are_compared_as_numbers_up_to_their_largest(tmp_path: Path) -> None:
    largest = 2**31 - 1
    rows = [row("u", "a", (largest, 0, 0)), row("u", "a", (largest - 1, 2**63 - 1, largest)), row("v", "a", (9, 0, 0))]
    rows.append(row("v", "a", (10, 0, 0)))
    unique, _ = run(tmp_path, rows)
    assert set(unique["page_url"]) == {rows[1]["page_url"], rows[2]["page_url"]}


def test_one_url_with_several_texts_is_several_pairs(tmp_path: Path) -> None:
    unique, counts = run(tmp_path, [row("u", "a", (0, 0, 0)), row("u", "b", (0, 0, 1)), row("v", "a", (0, 0, 2))])
    assert (unique.height, counts.drops) == (3, {})


def test_a_pair_of_an_earlier_crawl_is_dropped_with_its_copies(tmp_path: Path) -> None:
    rows = [row("u", "a", (0, 0, 0)), row("u", "a", (0, 0, 1)), row("u", "b", (0, 0, 2))]
    unique, counts = run(tmp_path, rows, history=[row("u", "a", (0, 0, 0)), row("w", "a", (0, 0, 0))])
    assert unique["text"].to_list() == ["b"]
    assert counts.drops == {"duplicate": 1, "seen_in_earlier_crawl": 1}


def test_two_pairs_of_one_name_are_no_duplicates(tmp_path: Path) -> None:
    rows = [
        row("u", "b", (0, 2, 0), 7),
        row("u", "a", (0, 1, 0), 7),
        row("u", "b", (0, 3, 0), 7),
        row("u", "a", (1, 0, 0), 7),
    ]
    unique, counts = run(tmp_path, rows)
    assert unique.rows(named=True) == [rows[1] | {"duplicate_count": 2}]
    assert counts.drops == {"hash_collision": 2, "duplicate": 1}


def test_names_collide_where_url_and_text_join_to_the_same_string(tmp_path: Path) -> None:
    _, counts = run(tmp_path, [row("http://h/x", "yz word", (0, 0, 0)), row("http://h/xy", "z word", (0, 0, 1))])
    assert counts == DedupCounts(rows_in=2, rows_out=1, drops={"hash_collision": 1})


def test_a_name_taken_in_an_earlier_crawl_is_not_given_again(tmp_path: Path) -> None:
    rows = [row("u", "a", (0, 0, 0), 7), row("u", "b", (0, 1, 0), 7), row("u", "b", (0, 2, 0), 7)]
    unique, counts = run(tmp_path, rows, history=[row("u", "b", (0, 0, 0), 7)])
    assert unique.is_empty()
    assert counts.drops == {"hash_collision": 1, "duplicate": 1, "seen_in_earlier_crawl": 1}
    unique, counts = run(tmp_path, rows, history=[row("u", "c", (0, 0, 0), 7)])
    assert unique.is_empty()
    assert counts.drops == {"hash_collision": 3}


def test_what_is_removed_does_not_come_out_and_holds_no_name(tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("evil.example\n")
    requested = {"kind": ["url", "pair_id"], "value": ["https://h.example/gone.jpg", "9"]}
    removals = load_removals(pl.DataFrame(requested), domain_lists=(str(tmp_path / "domains"),))
    rows = [
        row("http://h.example/gone.jpg", "a", (0, 0, 0), 7),
        row("http://h.example/gone.jpg", "a", (0, 0, 1), 7),
        row("http://h.example/other.jpg", "b", (0, 0, 2), 7),
        row("http://h.example/third.jpg", "b", (0, 0, 5), 7),
        row("http://a.evil.example/x.jpg", "c", (0, 0, 3)),
        row("http://h.example/x.jpg", "d", (0, 0, 4), 9),
    ]
    unique, counts = run(tmp_path, rows, removals=removals)
    assert unique["text"].to_list() == ["b"]
    assert counts.drops == {"removed_url": 2, "removed_domain": 1, "removed_pair": 1, "hash_collision": 1}


def test_a_digest_that_a_list_or_a_tar_tells_counts_for_removals(tmp_path: Path) -> None:
    rows = [row(f"http://h.example/{n}.jpg", "a text", (0, 0, n)) for n in range(3)]
    CONNECTION.register(
        "candidates", pl.DataFrame(rows, schema=CANDIDATES).with_columns(told=pl.Series(TOLD)).to_arrow()
    )
    counts = deduplicate(
        CONNECTION,
        candidates="candidates",
        removals=load_removals(pl.DataFrame({"kind": ["sha256"], "value": [TOLD[1]]})),
        told_sha256="told",
        output=tmp_path / "unique.parquet",
    )
    assert (counts.rows_out, counts.drops) == (2, {"removed_sha256": 1})


@pytest.mark.parametrize("history", [None, []])
def test_no_candidates_give_an_empty_file_with_all_columns(tmp_path: Path, history: list[Row] | None) -> None:
    unique, counts = run(tmp_path, [], history)
    assert unique.schema == {**CANDIDATES, "duplicate_count": pl.Int32}
    assert counts == DedupCounts(rows_in=0, rows_out=0, drops={})


def test_awkward_urls_and_texts_come_out_as_they_went_in(tmp_path: Path) -> None:
    texts = [
        "é",
        "e\u0301",
        "É",
        "ﬁ",
        "fi",
        "\u202egnp.exe",
        "👩‍👩‍👧",
        "a\x00b",
        "a",
        'it\'s "quoted"',
        "''; DROP TABLE x; --",
        "x" * 500_000,
    ]
    rows = [row(f'http://h.example/it\'s?q="{text[:20]}"', text, (0, n, 0)) for n, text in enumerate(texts)]
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    unique, counts = run(folder, rows, history=[])
    assert counts == DedupCounts(rows_in=12, rows_out=12, drops={})
    assert sorted(unique["text"]) == sorted(texts)
    assert unique["pair_id"].is_sorted()


def test_the_bytes_written_do_not_depend_on_order_or_threads(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(30_000)}).select(
        url=pl.format("http://h{}.example/{}.jpg", pl.col("n") % 11, pl.col("n") % 9_000),
        text=pl.format("text {}", pl.col("n") % 13),
        file_number=pl.col("n") % 7,
        record_offset=pl.col("n").cast(pl.Int64),
        link_position=pl.lit(0),
        row_number=pl.lit(None, pl.Int64),
        page_url=pl.lit("p"),
    )
    rows = rows.select(pair_id("url", "text").alias("pair_id"), pl.all())
    written = []
    for seed, threads in ((1, 1), (2, 4)):
        run(tmp_path, rows.sample(fraction=1, shuffle=True, seed=seed).to_dicts(), threads=threads)
        written.append((tmp_path / "unique.parquet").read_bytes())
    assert written[0] == written[1]


PLACES = st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 2))
PAIRS = st.tuples(
    st.sampled_from(["http://a.example/1", "http://b.example/1", "http://b.example:80/1#x", "http://c.example/é"]),
    st.sampled_from(["x", "y", "X", "\x00"]),
)
# Names are drawn apart from what they name, so that they collide often.
NAMED = st.builds(
    lambda pair, place, name: row(*pair, place, name), PAIRS, PLACES, st.one_of(st.none(), st.integers(0, 3))
)
REMOVED = st.sampled_from([("url", "http://b.example/1"), ("domain", "c.example"), ("pair_id", "1")])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(NAMED, max_size=25, unique_by=lambda r: r["page_url"]),
    st.lists(NAMED, max_size=6, unique_by=lambda r: r["pair_id"]),
    st.lists(REMOVED, max_size=2),
    st.randoms(use_true_random=False),
)
def test_a_naive_reader_finds_the_same_in_any_order(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row],
    history: list[Row],
    removed: list[tuple[str, str]],
    random: Any,
) -> None:
    folder = tmp_path_factory.mktemp("dedup")
    takedowns = pl.DataFrame(removed, schema={"kind": pl.String, "value": pl.String}, orient="row")
    removals = load_removals(takedowns)
    expected, drops = naive(rows, history, removals)
    unique, counts = run(folder, rows, history, removals)
    assert unique.rows(named=True) == expected
    assert counts == DedupCounts(rows_in=len(rows), rows_out=len(expected), drops=dict(drops))
    assert counts.rows_in == counts.rows_out + sum(counts.drops.values())
    shuffled = random.sample(rows, len(rows))
    assert run(folder, shuffled, history[::-1], removals)[0].equals(unique)


@settings(deadline=None, max_examples=20)
@given(st.lists(NAMED, max_size=25, unique_by=lambda r: r["page_url"]))
def test_unique_pairs_have_no_duplicates_and_are_all_seen_later(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    folder = tmp_path_factory.mktemp("dedup")
    unique, _ = run(folder, rows)
    once = unique.drop("duplicate_count").rows(named=True)
    again, counts = run(folder, once)
    assert again.drop("duplicate_count").rows(named=True) == once
    assert counts.drops == {}
    assert run(folder, once, history=once)[1] == DedupCounts(
        rows_in=len(once), rows_out=0, drops={"seen_in_earlier_crawl": len(once)} if once else {}
    )


def test_texts_need_not_fit_into_memory(tmp_path: Path) -> None:
    """Candidates with 400 MB of texts are deduplicated within 200 MB."""
    with duckdb.connect() as connection:
        connection.execute(f"""
            COPY (
                SELECT (hash(n % 300000) // 2)::BIGINT AS pair_id, 'http://h.example/' || n % 300000 AS url,
                       repeat(md5((n % 300000)::VARCHAR), 32) AS text, 0 AS file_number, n AS record_offset,
                       0 AS link_position, NULL::BIGINT AS row_number
                FROM range(400000) AS t(n)
            ) TO '{tmp_path}/candidates.parquet' (ROW_GROUP_SIZE 10000)""")
    config = {"memory_limit": "200MB", "threads": 1, "temp_directory": str(tmp_path / "spilled")}
    with duckdb.connect(config=config) as connection:
        connection.execute(f"CREATE VIEW candidates AS FROM '{tmp_path}/candidates.parquet'")
        output = tmp_path / "unique.parquet"
        counts = deduplicate(connection, candidates="candidates", output=output, row_group_rows=10_000)
        left = connection.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '_dedup%'").fetchall()
    assert counts == DedupCounts(rows_in=400_000, rows_out=300_000, drops={"duplicate": 100_000})
    assert pl.scan_parquet(output).select(pl.col("pair_id")).collect().to_series().is_sorted()
    assert left == []


def test_other_columns_are_carried_along(tmp_path: Path) -> None:
    rows = pl.DataFrame([row("u", "a", (0, 0, 0))], schema=CANDIDATES).with_columns(
        url_id=url_id("url"), crawl=pl.lit("C")
    )
    with duckdb.connect() as connection:
        connection.register("candidates", rows.to_arrow())
        deduplicate(connection, candidates="candidates", output=tmp_path / "unique.parquet")
    assert pl.read_parquet(tmp_path / "unique.parquet").equals(rows.with_columns(duplicate_count=pl.lit(1, pl.Int32)))
