"""What the page says of pairs: how many came through, how they score, and what they are like."""

from collections.abc import Sequence
from itertools import groupby

from laion_assets.charts import pairs as charts
from laion_assets.charts.bars import Bin
from laion_assets.common.quantities import figure, measured_bytes, percent
from laion_assets.report.blocks import (
    Block,
    Cell,
    Columns,
    Note,
    Table,
    foreign,
    name,
    number,
    ratio,
    share,
    table_of,
    words,
)
from laion_assets.report.material import Material, Row, needing
from laion_assets.text.language import LANGUAGE_GROUPS

_STAGES = ("candidates", "unique_pairs", "downloaded", "embedded", "kept")
_MOST_LANGUAGES = 24
_MOST_CRAWLS = 6
_WORD_LANGUAGES, _WORDS = 8, 12


@needing("candidate_pairs", "funnel")
def funnel(lake: Material) -> Sequence[Block]:
    """How many pairs each stage let through."""
    sums = ", ".join(f"sum({stage})::BIGINT AS {stage}" for stage in _STAGES)
    rows = lake.rows(f"""
        SELECT crawl, subset, {sums} FROM funnel GROUP BY ROLLUP (crawl, subset)
        HAVING crawl IS NOT NULL ORDER BY crawl, subset NULLS LAST""")
    by_crawl = {crawl: list(of) for crawl, of in groupby(rows, key=lambda row: row["crawl"])}
    drawn = {
        crawl: {
            stage.replace("_", " "): {row["subset"]: row[stage] for row in of if row["subset"]} for stage in _STAGES
        }
        for crawl, of in list(by_crawl.items())[-_MOST_CRAWLS:]
    }
    total = {stage: sum(row[stage] for row in rows if row["subset"] is None) for stage in _STAGES}
    lines = [_funnel_row(row) for row in rows]
    if len(by_crawl) > 1:
        lines.append(_funnel_row({"crawl": "all crawls", "subset": None, **total}))
    headings = ["crawl", "subset", *(stage.replace("_", " ") for stage in _STAGES)]
    note = "Below each number: its share of the stage before."
    table = Table(title="Pairs after each stage", headings=headings, rows=lines, note=note)
    return [charts.funnel(drawn), table]


def _funnel_row(row: Row) -> list[Cell]:
    before: int | None = None
    cells = [name(row["crawl"]), words(row["subset"]) if row["subset"] else Cell(text="all", kind="total")]
    for stage in _STAGES:
        cells.append(number(row[stage], note=percent(ratio(row[stage], before)) if before is not None else ""))
        before = row[stage]
    return cells


def similarity(lake: Material) -> Sequence[Block]:
    """How the encoder scores pairs, and where the thresholds lie."""
    lack = lake.lack("clip_embeddings", "similarity_distribution")
    if lack is not None:
        return [lack, *_calibrations(lake)]
    rows = lake.rows("""
        SELECT encoder, language_group(language) AS subset, bin_low, bin_high, sum(pairs)::BIGINT AS pairs,
            sum(released)::BIGINT AS released
        FROM similarity_distribution GROUP BY ALL ORDER BY encoder, subset, bin_low""")
    thresholds = _thresholds(lake)
    groups = [
        charts.Similarities(
            group=subset,
            encoder=encoder,
            bins=[Bin(low=r["bin_low"], high=r["bin_high"], total=r["pairs"], part=r["released"]) for r in of],
            thresholds=thresholds.get((encoder, subset), ()),
        )
        for (encoder, subset), of in groupby(rows, key=lambda row: (row["encoder"], row["subset"]))
    ]
    return [charts.similarity(groups), *_calibrations(lake)]


def _thresholds(lake: Material) -> dict[tuple[str, str], list[float]]:
    """The thresholds that released pairs, by encoder and group; those of the calibrations where none were released."""
    rows = lake.rows("""
        SELECT encoder, subset, threshold FROM filtered_pairs WHERE threshold IS NOT NULL
        UNION SELECT encoder, language_group AS subset, threshold::FLOAT FROM calibrations
        WHERE (encoder, language_group) NOT IN (SELECT (encoder, subset) FROM filtered_pairs)
        ORDER BY ALL""")
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        found.setdefault((row["encoder"], row["subset"]), []).append(row["threshold"])
    return found


def _calibrations(lake: Material) -> list[Block]:
    if not lake.has("calibrations"):
        return []
    rows = lake.rows("FROM calibrations ORDER BY encoder, encoder_sha256, language_group")
    columns: Columns = {
        "encoder": lambda row: name(row["encoder"]),
        "group": lambda row: words(row["language_group"]),
        "threshold": lambda row: number(row["threshold"]),
        "true kept": lambda row: share(row["keep_rate"]),
        "false dropped": lambda row: share(row["drop_rate"]),
        "ROC-AUC": lambda row: number(row["roc_auc"]),
        "true pairs": lambda row: number(row["positives"]),
        "method": lambda row: words(row["method"], note=row["picture_domain"]),
    }
    note = "Measured on held-out true pairs, and on the same pictures with shuffled texts."
    return [table_of("Calibrated thresholds", rows, columns, note=note)]


@needing("unique_pairs", "language_share")
def languages(lake: Material) -> Sequence[Block]:
    """Which languages there are, and how much of each was released."""
    rows = lake.rows("""
        SELECT language, any_value(subset) AS subset, sum(unique_pairs)::BIGINT AS pairs,
            sum(released)::BIGINT AS released
        FROM language_share GROUP BY language ORDER BY pairs DESC, language""")
    pairs, released = (sum(row[what] for row in rows) for what in ("pairs", "released"))
    most = max(row["pairs"] for row in rows)
    columns: Columns = {
        "language": lambda row: name(row["language"]),
        "unique pairs": lambda row: number(row["pairs"], bar=row["pairs"] / most, tone=row["subset"]),
        "share": lambda row: share(ratio(row["pairs"], pairs)),
        "released": lambda row: number(row["released"]),
        "share of release": lambda row: share(ratio(row["released"], released)),
        "released of its pairs": lambda row: share(ratio(row["released"], row["pairs"]), bar=True),
    }
    return [table_of("Languages, most frequent first", rows[:_MOST_LANGUAGES], columns, note=_more(rows, "languages"))]


def _more(rows: Sequence[Row], what: str, most: int = _MOST_LANGUAGES) -> str:
    return f"{figure(len(rows) - most)} more {what} are left out." if len(rows) > most else ""


@needing("unique_pairs", "caption_lengths")
def captions(lake: Material) -> Sequence[Block]:
    """How long texts are, and which words they are made of."""
    rows = lake.rows("""
        SELECT characters_low AS low, language_group(language) AS subset, sum(pairs)::BIGINT AS pairs
        FROM caption_lengths GROUP BY ALL ORDER BY low, subset""")
    groups = {group: {row["low"]: row["pairs"] for row in rows if row["subset"] == group} for group in LANGUAGE_GROUPS}
    return [charts.text_lengths(groups), *_vocabulary(lake)]


def _vocabulary(lake: Material) -> list[Block]:
    if not lake.has("caption_vocabulary"):
        return []
    rows = lake.rows(f"""
        WITH words AS (
            SELECT language, word, sum(pairs)::BIGINT AS pairs FROM caption_vocabulary GROUP BY ALL
        ), ranked AS (
            SELECT *, row_number() OVER (PARTITION BY language ORDER BY pairs DESC, word) AS place FROM words
        )
        SELECT language, max(pairs) AS most, list(word ORDER BY place) AS words FROM ranked WHERE place <= {_WORDS}
        GROUP BY language ORDER BY most DESC, language LIMIT {_WORD_LANGUAGES}""")
    columns: Columns = {
        "language": lambda row: name(row["language"]),
        "words, most frequent first": lambda row: foreign("  ·  ".join(row["words"]), language=row["language"]),
    }
    return [table_of("Most frequent words", rows, columns)]


@needing("images", "picture_sizes")
def pictures(lake: Material) -> Sequence[Block]:
    """How large pictures are, and what shape."""
    sizes = lake.rows("""
        SELECT short_side_low AS low, any_value(short_side_high) AS high, sum(pictures)::BIGINT AS pictures,
            sum(bytes)::BIGINT AS bytes
        FROM picture_sizes GROUP BY low ORDER BY low""")
    shapes = lake.rows("""
        SELECT aspect, sum(pictures)::BIGINT AS pictures, sum(bytes)::BIGINT AS bytes
        FROM picture_sizes GROUP BY ALL ORDER BY pictures DESC, aspect""")
    total = sum(row["pictures"] for row in sizes)
    blocks: list[Block] = [
        _picture_table("Shorter side, in pixels", "pixels", total, [(_range(row), row) for row in sizes]),
        _picture_table("Shapes", "shape", total, [(row["aspect"], row) for row in shapes]),
    ]
    if len(sizes) > 2:  # a plot of two columns says less than the table
        blocks.insert(0, charts.picture_sizes({row["low"]: row["pictures"] for row in sizes}))
    return [*blocks, *_tags(lake)]


def _range(row: Row) -> str:
    low, high = figure(row["low"]), row["high"]
    return f"{low} and more" if high is None else f"{low} to {figure(high)}"


def _picture_table(title: str, heading: str, total: int, rows: Sequence[tuple[str, Row]]) -> Table:
    lines = [
        [
            words(label),
            number(row["pictures"]),
            share(ratio(row["pictures"], total), bar=True),
            Cell(text=measured_bytes(ratio(row["bytes"], row["pictures"]) or 0), kind="number"),
        ]
        for label, row in rows
    ]
    return Table(title=title, headings=[heading, "pictures", "share", "bytes on average"], rows=lines)


def _tags(lake: Material) -> list[Block]:
    """Unsafe and watermarked shares, where pairs were scored."""
    if not lake.has("tag_rates"):
        return []
    rows = lake.rows("FROM tag_rates WHERE scored > 0 ORDER BY crawl, subset")
    if not rows:
        return [Note(text="No pair was scored for unsafe content, watermarks or aesthetics yet.")]
    columns: Columns = {
        "crawl": lambda row: name(row["crawl"]),
        "subset": lambda row: words(row["subset"]),
        "pairs": lambda row: number(row["pairs"]),
        "scored": lambda row: number(row["scored"]),
        "unsafe": lambda row: share(row["unsafe_rate"]),
        "watermarked": lambda row: share(row["watermark_rate"]),
        "mean aesthetic score": lambda row: number(row["aesthetic_mean"]),
    }
    return [table_of("Tags of released pairs", rows, columns)]
