"""What the page says of the web and the lake: hosts, dead links, duplicates, crawls, selections, tables."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from laion_assets.charts.drawing import Chart
from laion_assets.charts.web import concentration
from laion_assets.common.quantities import figure, measured_bytes, percent
from laion_assets.report.blocks import (
    Block,
    Cell,
    Columns,
    Note,
    Sheet,
    Table,
    first_sentence,
    foreign,
    name,
    number,
    ratio,
    share,
    table_of,
    words,
)
from laion_assets.report.material import BUILD_MODELS, Material, Row, has_rows, needing

_MOST_HOSTS = 20
_MOST_CRAWLS = 4
_MOST_OVERLAPS = 30
_RELEASE = "filtered_pairs"
_ROT = ("dns", "connect", "timeout", "protocol", "http_4xx", "http_5xx", "not_an_image", "decode")
"""Failures that say an address is dead; the others are rules."""


@needing("unique_pairs", "domain_statistics")
def domains(lake: Material) -> Sequence[Block]:
    """Where pictures come from, and how much comes from few hosts."""
    blocks: list[Block] = []
    if lake.has("domain_concentration"):
        blocks.append(_concentration(lake))
    if lake.rows("SELECT max(rank) AS hosts FROM domain_statistics")[0]["hosts"] >= 10:  # a line of few is no line
        blocks.insert(0, _curves(lake))
    rows = lake.rows(f"""
        WITH hosts AS (
            SELECT host, sum(pairs)::BIGINT AS pairs, sum(urls)::BIGINT AS urls, sum(released)::BIGINT AS released
            FROM domain_statistics GROUP BY host
        )
        SELECT *, sum(pairs) OVER ()::BIGINT AS whole, count(*) OVER () AS hosts FROM hosts
        ORDER BY pairs DESC, host LIMIT {_MOST_HOSTS * 2}""")
    most = rows[0]["pairs"]
    columns: Columns = {
        "host": lambda row: foreign(row["host"]),
        "pairs": lambda row: number(row["pairs"], bar=row["pairs"] / most),
        "share": lambda row: share(ratio(row["pairs"], row["whole"])),
        "urls": lambda row: number(row["urls"]),
        "released": lambda row: number(row["released"]),
        "released of its pairs": lambda row: share(ratio(row["released"], row["pairs"])),
    }
    note = f"{figure(rows[0]['hosts'])} hosts in all; urls are counted in each crawl."
    blocks.append(table_of("Largest hosts", _not_removed(lake, rows)[:_MOST_HOSTS], columns, note=note))
    return blocks


def _not_removed(lake: Material, rows: Sequence[Row]) -> list[Row]:
    """Rows of hosts that nobody asked to remove."""
    return [row for row in rows if not lake.removals.match_host(row["host"])]


def _concentration(lake: Material) -> Table:
    columns: Columns = {
        "crawl": lambda row: name(row["crawl"]),
        "hosts": lambda row: number(row["hosts"]),
        "largest": lambda row: share(row["top_1_share"]),
        "10 largest": lambda row: share(row["top_10_share"]),
        "100 largest": lambda row: share(row["top_100_share"]),
        "hosts for half": lambda row: number(row["hosts_for_half"]),
        "HHI": lambda row: number(row["hhi"]),
        "Gini": lambda row: number(row["gini"]),
    }
    note = (
        "Shares of unique pairs. HHI is the sum of squared shares: 1 over it is how many equally large hosts would be "
        "as concentrated. Gini is 0 where all hosts are equally large, near 1 where one has nearly all."
    )
    return table_of("Concentration", lake.rows("FROM domain_concentration ORDER BY crawl"), columns, note=note)


def _curves(lake: Material) -> Chart:
    ranks = ", ".join(str(round(10 ** (step / 8))) for step in range(65))
    rows = lake.rows(f"""
        WITH last AS (SELECT crawl, max(rank) AS rank FROM domain_statistics GROUP BY crawl
            ORDER BY crawl DESC LIMIT {_MOST_CRAWLS})
        SELECT crawl, domain_statistics.rank, cumulative_share AS share FROM domain_statistics JOIN last USING (crawl)
        WHERE domain_statistics.rank IN ({ranks}) OR domain_statistics.rank = last.rank ORDER BY crawl, rank""")
    by_crawl = {crawl: [(r["rank"], r["share"]) for r in of] for crawl, of in groupby(rows, key=lambda r: r["crawl"])}
    return concentration(by_crawl)


@needing("images", "link_rot")
def link_rot(lake: Material) -> Sequence[Block]:
    """Which links no longer lead to a picture."""
    dead = ", ".join(f"'{failure}'" for failure in _ROT)
    row = lake.rows(f"""
        SELECT coalesce(sum(urls) FILTER (failure IN ({dead})), 0)::BIGINT AS dead, sum(urls)::BIGINT AS failed,
            (SELECT count(*) FROM images) AS attempted FROM link_rot""")[0]
    text = (
        f"Of {figure(row['attempted'])} urls {figure(row['dead'])} no longer lead to a picture "
        f"({percent(ratio(row['dead'], row['attempted']))}): {', '.join(_ROT)}. "
        f"{figure(row['failed'] - row['dead'])} more were refused by a rule of ours or of the site."
    )
    rows = lake.rows(f"""
        WITH hosts AS (
            SELECT host, sum(urls)::BIGINT AS urls FROM (SELECT DISTINCT crawl, host, host_urls AS urls FROM link_rot)
            GROUP BY host
        ), kinds AS (
            SELECT host, failure, sum(urls)::BIGINT AS urls FROM link_rot WHERE failure IN ({dead}) GROUP BY ALL
        )
        SELECT host, any_value(hosts.urls) AS attempted, sum(kinds.urls)::BIGINT AS dead,
            list(failure || ' ' || kinds.urls ORDER BY kinds.urls DESC, failure) AS kinds
        FROM kinds JOIN hosts USING (host) GROUP BY host ORDER BY dead DESC, host LIMIT {_MOST_HOSTS * 2}""")
    columns: Columns = {
        "host": lambda row: foreign(row["host"]),
        "urls": lambda row: number(row["attempted"]),
        "dead": lambda row: number(row["dead"]),
        "share": lambda row: share(ratio(row["dead"], row["attempted"]), bar=True),
        "how": lambda row: words(", ".join(row["kinds"][:4]) + (", …" if len(row["kinds"]) > 4 else "")),
    }
    return [Note(text=text), table_of("Hosts with most dead links", _not_removed(lake, rows)[:_MOST_HOSTS], columns)]


@needing("images", "duplicate_clusters")
def duplicates(lake: Material) -> Sequence[Block]:
    """Pictures that lie under several addresses."""
    row = lake.rows("""
        SELECT count(*) AS clusters, sum(pairs)::BIGINT AS pairs, count(*) FILTER (hosts > 1) AS over_hosts
        FROM duplicate_clusters""")[0]
    text = (
        f"{figure(row['clusters'])} pictures lie under more than one url, {figure(row['over_hosts'])} of them on "
        f"several hosts; {figure(row['pairs'])} pairs have one of them."
    )
    return [Note(text=text), Sheet(title="Largest clusters", cards=lake.clusters)]


def overlap(lake: Material) -> Sequence[Block]:
    """What crawls have in common."""
    crawls = lake.rows("SELECT count(DISTINCT crawl) AS n FROM crawl_snapshots")[0]["n"]
    if crawls == 1:
        return [Note(text="The lake has one crawl, so there is nothing to compare it with.")]
    lack = lake.lack("candidate_pairs", "crawl_overlap")
    if lack is not None:
        return [lack]
    rows = lake.rows("FROM crawl_overlap ORDER BY shared_urls DESC, crawl, other_crawl")
    columns: Columns = {
        "crawl": lambda row: name(row["crawl"]),
        "later crawl": lambda row: name(row["other_crawl"]),
        "urls": lambda row: number(row["urls"]),
        "its urls": lambda row: number(row["other_urls"]),
        "shared urls": lambda row: number(
            row["shared_urls"], note=f"{percent(ratio(row['shared_urls'], row['other_urls']))} of the later"
        ),
        "Jaccard": lambda row: share(row["jaccard"], bar=True),
        "shared pairs": lambda row: number(row["shared_pairs"]),
    }
    more = len(rows) - _MOST_OVERLAPS
    note = f"{figure(more)} more pairs of crawls share fewer." if more > 0 else ""
    return [table_of("Urls that two crawls share", rows[:_MOST_OVERLAPS], columns, note=note)]


def selections(lake: Material) -> Sequence[Block]:
    """What each selection takes, and how much of it the others take too."""
    built = [s.name for s in lake.selections if has_rows(lake.con, s.name)]
    if not built:
        text = "Nothing to show yet: none of the release models holds rows. They are built by"
        return [Note(text=text, command=BUILD_MODELS), *_unavailable(lake, built)]
    names = [_RELEASE, *built]
    sets = _selected(lake, names)
    released = sets[_RELEASE, _RELEASE]
    described = {s.name: _first_sentence(s.description) for s in lake.selections}
    lines = []
    for model in names:
        means = lake.rows(f'SELECT avg(similarity) AS mean, count(DISTINCT sha256) AS pictures FROM "{model}"')[0]
        pairs, both = sets[model, model], sets[model, _RELEASE]
        said = described.get(model, "The release, by the lake's own policy.")
        lines.append(
            [
                name(model, note=said),
                number(pairs, bar=ratio(pairs, max(sets[other, other] for other in names))),
                number(means["pictures"]),
                number(means["mean"]),
                share(ratio(both, pairs)),
                share(ratio(both, released)),
            ]
        )
    headings = ["selection", "pairs", "pictures", "mean similarity", "of it released", "of the release in it"]
    table = Table(title="Selections compared with the release", headings=headings, rows=lines)
    shared = Table(
        title="Overlap",
        headings=["of", *names],
        rows=[
            [name(one), *(share(ratio(sets[one, other], sets[one, one]), bar=True) for other in names)] for one in names
        ],
        note="How much of the selection on the left is in the one above.",
    )
    return [table, shared, *_unavailable(lake, built)]


def _selected(lake: Material, names: Sequence[str]) -> Mapping[tuple[str, str], int]:
    """How many pairs each two selections share; a selection with itself: all of its pairs."""
    union = " UNION ALL ".join(
        f'SELECT crawl, bucket, pair_id, {1 << place}::BIGINT AS chosen FROM "{name}"'
        for place, name in enumerate(names)
    )
    rows = lake.rows(f"""
        SELECT chosen, count(*) AS pairs
        FROM (SELECT bit_or(chosen) AS chosen FROM ({union}) GROUP BY crawl, bucket, pair_id) GROUP BY chosen""")
    return {
        (one, other): sum(row["pairs"] for row in rows if row["chosen"] >> i & 1 and row["chosen"] >> j & 1)
        for i, one in enumerate(names)
        for j, other in enumerate(names)
    }


def _unavailable(lake: Material, built: Sequence[str]) -> list[Block]:
    lines = [
        [
            name(s.name),
            words(
                s.disabled or ("selects nothing" if lake.was_built(s.name) else "not built"),
                note=_first_sentence(s.description),
            ),
        ]
        for s in lake.selections
        if s.name not in built
    ]
    return [Table(title="Selections without pairs", headings=["selection", "why"], rows=lines)] if lines else []


def _first_sentence(text: str) -> str:
    return first_sentence(text).replace("`", "")


def tables(lake: Material, sizes: Mapping[str, Mapping[str, int]]) -> Sequence[Block]:
    """What was read, at which version."""
    committed = {
        row["table_name"]: row["last"]
        for row in (
            lake.rows("SELECT table_name, max(committed_at) AS last FROM commits GROUP BY 1")
            if lake.has("commits")
            else ()
        )
    }
    lines = [
        [
            name(table),
            number(of["version"]),
            number(of["rows"]),
            number(of["partitions"]),
            number(of["files"]),
            Cell(text=measured_bytes(of["bytes"] or 0), kind="number"),
            words(f"{committed[table]:%Y-%m-%d %H:%M}" if table in committed else "–"),
        ]
        for table, of in sizes.items()
    ]
    headings = ["table", "version", "rows", "partitions", "files", "bytes", "last written (UTC)"]
    return [Table(title="Tables of the lake, as they were read", headings=headings, rows=lines), *_tests(lake)]


def _tests(lake: Material) -> list[Block]:
    if not lake.has("model_tests"):
        return []
    row = lake.rows("SELECT count(*) AS tests, count(*) FILTER (NOT passed) AS failed FROM model_tests")[0]
    failed = lake.rows("SELECT model, scope, test, failing_rows FROM model_tests WHERE NOT passed ORDER BY ALL")
    lines = [[name(r["model"]), words(r["scope"]), name(r["test"]), number(r["failing_rows"])] for r in failed]
    note = Note(text=f"{figure(row['tests'])} tests of SQL models, {figure(row['failed'])} failed.")
    if not lines:
        return [note]
    return [note, Table(title="Failed tests", headings=["model", "scope", "test", "rows"], rows=lines)]
