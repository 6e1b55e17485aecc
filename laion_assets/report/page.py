"""The page itself: one HTML file with everything in it, which asks nothing of the network and runs no script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from laion_assets.common.progress import Progress
from laion_assets.common.quantities import figure, percent
from laion_assets.consent.removals import Removals, load_removals
from laion_assets.delta.lake import Lake
from laion_assets.delta.states import State
from laion_assets.report import drops, pairs, training, web
from laion_assets.report.blocks import Place, Section, language_code, ratio
from laion_assets.report.document import rendered, write_page
from laion_assets.report.material import Material, Selection, Shows, has_rows
from laion_assets.report.samples import PairSamples, cluster_samples, failure_samples, pair_samples
from laion_assets.report.sheets import thumbnails
from laion_assets.sql import PROJECT
from laion_assets.sql.build import declared, model_states
from laion_assets.sql.project import Project, open_project
from laion_assets.sql.session import connect

_CLUSTERS = 12
_PER_REASON = 6
_PER_FAILURE = 3

_SECTIONS: Sequence[tuple[str, str, str, Shows]] = (
    (
        "funnel",
        "Funnel",
        "How many pairs each stage let through, from links with alt text to released pairs.",
        pairs.funnel,
    ),
    (
        "similarity",
        "Similarity",
        "How alike the encoder finds picture and text. The threshold keeps out what lies left of it.",
        pairs.similarity,
    ),
    (
        "sheets",
        "Contact sheets",
        "With each text: its language, its similarity, and how far that is from the threshold.",
        drops.contact_sheets,
    ),
    ("dropped", "What was dropped", "Every stage counts what it drops, by the first reason that holds.", drops.dropped),
    ("languages", "Languages", "The language of the text, as fastText tells it.", pairs.languages),
    ("captions", "Texts", "How long alt texts are, and which words they are made of.", pairs.captions),
    ("pictures", "Pictures", "Size and shape as they were downloaded.", pairs.pictures),
    ("domains", "Hosts", "Where pictures lie, and how much depends on few sites.", web.domains),
    ("link-rot", "Link rot", "Which addresses no longer lead to a picture, and why.", web.link_rot),
    (
        "duplicates",
        "Duplicate pictures",
        "The same bytes under several urls. The largest clusters are often logos and placeholders.",
        web.duplicates,
    ),
    ("overlap", "Crawl overlap", "What one crawl has in common with another.", web.overlap),
    (
        "selections",
        "Selections",
        "Other ways to choose pairs from the same lake, as SQL models, beside the release.",
        web.selections,
    ),
    (
        "training",
        "Training",
        "What models learned from pairs of this lake, how the learning went, and what they score.",
        training.training,
    ),
)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What the page shows."""

    pictures: int = 12
    """Pairs on each contact sheet."""
    show_pictures: bool = True
    """Whether pictures are in it; texts are, either way."""
    blur: bool = False
    """Whether each picture is blurred until somebody points at it."""


def write_report(
    lake: Lake,
    output: Path,
    options: ReportOptions = ReportOptions(),
    *,
    models: Path = PROJECT,
    deny: Mapping[str, tuple[str, ...]] | None = None,
    made_at: datetime | None = None,
) -> int:
    """Write a page about a lake to ``output``, all at once, and give its size in bytes.

    The same lake gives the same bytes but for the time.

    Args:
        lake: the lake; it is read only.
        output: the HTML file to write; its folder must be there.
        options: what to show.
        models: folder of the SQL models.
        deny: files of what must not be shown, beside the lake's removal requests, by the names that ``load_removals``
            gives them; None: no files.
        made_at: the time the page gives as its own; None: now.

    Raises:
        OSError: the file cannot be written.
    """
    project = open_project(models)
    declared(lake, project)
    selections = [
        Selection(name=model.name, description=model.description, disabled=model.disabled)
        for model in project.models.values()
        if model.layer == "release"
    ]
    before = _sizes(lake)
    outdated = _outdated(lake, project)
    with connect(lake, models=models) as con:
        removals = load_removals(con.execute("SELECT kind, value, requested_at FROM takedowns").pl(), **(deny or {}))
        material = gather(con, selections, removals, options)
        sections = build_sections(material)
        tables = web.tables(material, before)
        head = summary(material)
    changed = [name for name, of in _sizes(lake).items() if of != before.get(name)]
    sections.append(
        Section(
            id="tables",
            title="Tables",
            intro="What this page was made from. The same versions give the same page.",
            blocks=tables,
        )
    )
    images = thumbnails(lake.storage, _places(material)) if options.show_pictures else {}
    page = render(
        name=lake.name,
        head=head,
        sections=sections,
        images=images,
        options=options,
        made_at=made_at or datetime.now(UTC),
        changed=changed,
        outdated=outdated,
    )
    return write_page(output, page)


def gather(
    con: duckdb.DuckDBPyConnection, selections: Sequence[Selection], removals: Removals, options: ReportOptions
) -> Material:
    """Pick the rows to look at, through a session over the lake."""
    registered = removals.register(con)
    per_sheet = {"per_sheet": options.pictures, "per_reason": _PER_REASON}
    scored = all(has_rows(con, name) for name in ("scored_pairs", "filtered_pairs"))
    return Material(
        con=con,
        removals=removals.matcher(),
        selections=selections,
        pairs=pair_samples(con, registered, **per_sheet) if scored else PairSamples(),
        failures=failure_samples(con, registered, per_reason=_PER_FAILURE),
        clusters=cluster_samples(con, registered, most=_CLUSTERS) if has_rows(con, "duplicate_clusters") else (),
    )


def build_sections(material: Material) -> list[Section]:
    """Every section, in order; one that has nothing to show says so, and what to do."""
    progress = Progress("sections", len(_SECTIONS), "sections")
    sections = []
    for id_, title, intro, blocks in _SECTIONS:
        sections.append(Section(id=id_, title=title, intro=intro, blocks=blocks(material)))
        progress()
    return sections


def summary(material: Material) -> Mapping[str, object]:
    """What the head of the page says: a few numbers, the crawls, what released the pairs."""
    counts = material.rows("""
        SELECT (SELECT count(*) FROM candidate_pairs) AS candidates,
            (SELECT count(*) FROM unique_pairs) AS unique_pairs,
            (SELECT count(*) FROM images WHERE status = 'success') AS pictures,
            (SELECT count(*) FROM filtered_pairs) AS released,
            (SELECT count(DISTINCT language) FROM unique_pairs) AS languages""")[0]
    crawls = material.rows("SELECT crawl, name, first_capture, last_capture FROM crawl_snapshots ORDER BY crawl")
    rules = material.rows("SELECT DISTINCT policy, encoder FROM filtered_pairs ORDER BY ALL")
    return {
        "released": figure(counts["released"]),
        "share": percent(ratio(counts["released"], counts["candidates"])),
        "counts": [
            (figure(counts["candidates"]), "candidate pairs"),
            (figure(counts["unique_pairs"]), "unique pairs"),
            (figure(counts["pictures"]), "pictures"),
            (figure(counts["languages"]), "languages"),
        ],
        "crawls": crawls,
        "policies": sorted({row["policy"] for row in rules}),
        "encoders": sorted({row["encoder"] for row in rules}),
    }


def render(
    *,
    name: str,
    head: Mapping[str, object],
    sections: Sequence[Section],
    images: Mapping[Place, str],
    options: ReportOptions,
    made_at: datetime,
    changed: Sequence[str] = (),
    outdated: Sequence[str] = (),
) -> str:
    """The page as HTML.

    Args:
        name: of the lake.
        head: what :func:`summary` gives.
        sections: in order.
        images: data URIs of the pictures that were read.
        options: what to show.
        made_at: the time the page gives as its own.
        changed: tables that were written to while the page was made.
        outdated: SQL models that are older than what they are built from.
    """
    return rendered(
        "page.html.jinja",
        title=f"{name}: report of a lake",
        name=name,
        head=head,
        sections=sections,
        images=images,
        options=options,
        made_at=made_at,
        changed=changed,
        outdated=outdated,
        language_code=language_code,
    )


def _sizes(lake: Lake) -> Mapping[str, Mapping[str, int]]:
    return {name: lake.sizes(name) for name in lake.tables if lake.exists(name)}


def _outdated(lake: Lake, project: Project) -> list[str]:
    """SQL models that were built, and would come out differently or untested now."""
    stale = {name for (name, _), state in model_states(project, lake).items() if state.state is State.STALE}
    return [name for name in project.enabled if name in stale and lake.exists(name)]


def _places(material: Material) -> list[Place]:
    cards = [*material.pairs.cards, *material.clusters]
    return [card.place for card in cards if card.place is not None]
