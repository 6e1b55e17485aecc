"""A page about a release: pairs to look at, how few were left of how many, languages, hosts, and what it came from."""

# Names, and a predicate that was used to select, are put into SQL here; it only reads.

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from laion_assets.common.quantities import counted, figure, measured_bytes
from laion_assets.consent.removals import Removals
from laion_assets.delta.lake import Lake
from laion_assets.release.begun import files_of
from laion_assets.release.facts import ReleaseFacts
from laion_assets.release.figures import pinned_commits, release_facts, still_readable
from laion_assets.release.options import Release
from laion_assets.report.blocks import (
    Block,
    Card,
    Note,
    Place,
    Section,
    Sheet,
    Table,
    foreign,
    language_code,
    name,
    number,
    prose,
    shown,
    words,
)
from laion_assets.report.document import rendered, write_page
from laion_assets.report.page import ReportOptions
from laion_assets.report.sheets import thumbnails
from laion_assets.sql.session import connect
from laion_assets.tables.catalogue import FUNNEL
from laion_assets.text.language import language_group_sql

_LANGUAGES = 40


@dataclass(frozen=True, kw_only=True)
class _Material:
    """What the page is made of."""

    lake: Lake
    release: Release
    facts: ReleaseFacts
    samples: Mapping[str, Sequence[Card]]


def write_release_page(
    lake: Lake,
    release: Release,
    output: Path,
    options: ReportOptions,
    *,
    models: str,
    removals: Removals,
) -> int:
    """Write a page about a release, all at once; gives its size in bytes. The same lake gives the same bytes.

    Args:
        lake: the lake, where the versions that the release pins can be read.
        release: the release.
        output: the HTML file; its folder must be there.
        options: what to show.
        models: folder of the SQL models.
        removals: what must not be shown, as it is now.

    Raises:
        ReleaseError: what it was made from cannot be read any more.
        OSError: the file cannot be written.
    """
    facts = release_facts(lake, models, release)
    with still_readable(release):
        samples = _samples(lake, release, models, removals, options.pictures)
    material = _Material(lake=lake, release=release, facts=facts, samples=samples)
    places = [card.place for cards in samples.values() for card in cards if card.place is not None]
    page = rendered(
        "release.html.jinja",
        title=f"{release.name}: a release of pairs",
        name=release.name,
        head=_head(facts),
        sections=[*_sections(material)],
        images=thumbnails(lake.storage, places) if options.show_pictures else {},
        options=options,
        made_at=release.created_at,
        changed=(),
        outdated=(),
        language_code=language_code,
    )
    return write_page(output, page)


def _head(facts: ReleaseFacts) -> Mapping[str, Any]:
    selected = f"`{facts.source}`" + (f" where `{facts.where}`" if facts.where else "")
    about = [
        ("About", facts.description),
        ("Selected from", selected),
        ("Begun", f"{facts.created_at:%Y-%m-%d %H:%M} UTC"),
        ("Formats", ", ".join(f"`{one}`" for one in facts.formats)),
        ("Terms", f"{facts.license} {facts.license_link}".strip()),
        ("Published by", facts.creator),
        ("Removals", facts.contact),
    ]
    what = f"with {counted(facts.pictures, 'picture')}" if facts.pictures else "as links, without pictures"
    return {"pairs": figure(facts.rows), "what": what, "about": [(word, said) for word, said in about if said]}


def _sections(of: _Material) -> Iterator[Section]:
    made = (
        (
            "sheets",
            "Contact sheets",
            "Pairs with the lowest ids: hashes, and so as good as picked by chance.",
            _sheets,
        ),
        ("funnel", "Funnel", "What the crawls of the release had, stage by stage.", _funnel),
        ("dropped", "What was dropped", "By the first reason that holds.", _dropped),
        ("languages", "Languages", "The language of the text, as fastText tells it.", _languages),
        ("hosts", "Hosts", "Where most pictures lie.", _hosts),
        ("lineage", "Where it comes from", "Crawls, encoders, and the versions of tables.", _lineage),
        ("files", "Files", "What lies in the release, of its parts.", _files),
    )
    for id_, title, intro, blocks in made:
        yield Section(id=id_, title=title, intro=intro, blocks=blocks(of) or [Note(text="There is nothing to show.")])


def _samples(lake: Lake, release: Release, models: str, removals: Removals, each: int) -> Mapping[str, Sequence[Card]]:
    pinned = {table: version for table, version in release.versions.items() if version >= 0}
    group = language_group_sql("pair.language")
    with connect(lake, models=models, at=pinned) as con:
        pairs = f"""(
            SELECT pair.pair_id, pair.url, pair.text, pair.language, {group} AS subset, image.final_url, image.sha256,
                   image.shard_path, image.sample_key, coalesce(image.original_width, image.width) AS width,
                   coalesce(image.original_height, image.height) AS height, verdict.similarity
            FROM (SELECT DISTINCT crawl, bucket, pair_id FROM {release.terms.source}
                  WHERE ({release.terms.selection}\n)) AS chosen
            JOIN unique_pairs AS pair USING (crawl, bucket, pair_id)
            LEFT JOIN images AS image
                ON image.crawl = pair.crawl AND image.bucket = pair.bucket AND image.url_id = pair.url_id
                AND image.url = pair.url AND image.status = 'success'
            LEFT JOIN filtered_pairs AS verdict
                ON verdict.crawl = pair.crawl AND verdict.bucket = pair.bucket AND verdict.pair_id = pair.pair_id
        )"""
        known = removals.register(con).annotate(pairs, final_url="final_url", pair_id="pair_id", sha256="sha256")
        pictured = "AND shard_path IS NOT NULL" if release.terms.has_pictures else ""
        found = con.execute(
            f"SELECT * FROM ({known}) WHERE removal IS NULL {pictured} "
            "QUALIFY row_number() OVER (PARTITION BY subset ORDER BY shard_path IS NULL, pair_id) <= ? "
            "ORDER BY subset, shard_path IS NULL, pair_id",
            [each],
        ).pl()
    return {
        str(subset): [_card(row) for row in rows]
        for subset, rows in groupby(found.iter_rows(named=True), key=lambda row: row["subset"])
    }


def _card(row: Mapping[str, Any]) -> Card:
    place = None if row["shard_path"] is None else Place(tar=row["shard_path"], key=row["sample_key"])
    similar = [] if row["similarity"] is None else [f"similarity {row['similarity']:.3f}"]
    size = (row["width"], row["height"]) if row["width"] and row["height"] else None
    return Card(
        text=shown(row["text"]),
        facts=[*similar, *([f"{size[0]} × {size[1]}"] if size else [])],
        url=shown(row["url"]),
        language=row["language"],
        place=place,
        size=size,
    )


def _sheets(of: _Material) -> list[Block]:
    return [Sheet(title=subset, cards=cards) for subset, cards in of.samples.items()]


def _funnel(of: _Material) -> list[Block]:
    commits = pinned_commits(of.lake, of.release)
    rows = []
    for table, step in FUNNEL.items():
        found = commits.get(table, ())
        if found:
            taken, left = sum(c.rows_in for c in found), sum(c.rows for c in found)
            rows.append([name(table), words(step.takes), number(taken), number(left), number(taken - left)])
    rows.append(
        [
            words("this release"),
            words("selected pairs"),
            number(of.release.pairs + sum(of.release.left_out.values())),
            number(of.release.pairs),
            number(sum(of.release.left_out.values())),
        ]
    )
    return [Table(title="Rows by stage", headings=["stage", "takes", "rows in", "rows out", "dropped"], rows=rows)]


def _dropped(of: _Material) -> list[Block]:
    rows = [
        [name(table), words(reason.replace("_", " ")), number(count)]
        for table, reasons in (*of.facts.drops.items(), ("this release", of.release.left_out))
        for reason, count in reasons.items()
    ]
    return [Table(title="Reasons", headings=["stage", "reason", "rows"], rows=rows)] if rows else []


def _languages(of: _Material) -> list[Block]:
    most = max(of.facts.languages.values(), default=1)
    listed = [*of.facts.languages.items()]
    rows = [[name(code), number(count, bar=count / most)] for code, count in listed[:_LANGUAGES]]
    others = f"and {len(listed) - _LANGUAGES} more" if len(listed) > _LANGUAGES else ""
    return [Table(title="Pairs by language", headings=["language", "pairs"], rows=rows, note=others)] if rows else []


def _hosts(of: _Material) -> list[Block]:
    rows = [[foreign(host), number(count, bar=count / of.facts.rows)] for host, count in of.facts.hosts]
    return [Table(title="Pairs by host", headings=["host", "pairs"], rows=rows)] if rows else []


def _lineage(of: _Material) -> list[Block]:
    facts = of.facts
    crawls = [
        [name(crawl.name), words(crawl.source), number(crawl.rows),
         words(" to ".join(f"{day:%Y-%m-%d}" for day in (crawl.first_capture, crawl.last_capture) if day) or "–")]
        for crawl in facts.crawls
    ]  # fmt: skip
    encoders = [[name(e.name), words(e.sha256[:16]), words(e.precision), words(e.preprocess)] for e in facts.encoders]
    tables = [
        [name(table), number(version), words(facts.code_versions.get(table, "–"))]
        for table, version in facts.versions.items()
    ]
    return [
        Table(title="Crawls", headings=["crawl", "read from", "pairs", "captured"], rows=crawls),
        Table(title="Encoders", headings=["encoder", "weights", "arithmetic", "pictures prepared"], rows=encoders),
        Table(title="Tables", headings=["table", "version", "code version"], rows=tables),
    ]


def _files(of: _Material) -> list[Block]:
    files = files_of(of.lake, of.release.name)
    rows = [
        [prose(f"`{kind}`"), number(found.height), words(measured_bytes(int(found["bytes"].sum())))]
        for (kind,), found in sorted(files.partition_by("kind", as_dict=True).items())
    ]
    return [Table(title="By format", headings=["format", "files", "size"], rows=rows)] if rows else []
