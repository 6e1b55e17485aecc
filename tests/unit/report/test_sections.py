"""What sections say, in numbers, and what they say where something was not built."""

import pytest

from laion_assets.charts.drawing import Chart
from laion_assets.consent.removals import Removals, load_removals
from laion_assets.report import drops, pairs, web
from laion_assets.report.blocks import Note, Sheet, Table
from laion_assets.report.material import Material, Selection
from laion_assets.report.page import ReportOptions, build_sections, gather
from laion_assets.report.samples import FailedUrl, PairSamples
from tests.unit.report.conftest import EARLY, LATE, SHA, lines, released, scored


@pytest.fixture
def material(con) -> Material:
    return Material(con=con, removals=Removals.none().matcher())


def notes(blocks):
    return [f"{block.text} {block.command}".strip() for block in blocks if isinstance(block, Note)]


def table(blocks, title):
    return next(block for block in blocks if isinstance(block, Table) and title in block.title)


def test_an_empty_lake_says_in_every_section_what_to_build(con):
    material = gather(con, [], Removals.none(), ReportOptions())
    for section in build_sections(material):
        said = " ".join(notes(section.blocks))
        assert any(f"laion {command}" in said for command in ("build", "models run", "train")), section.id


def test_a_model_that_was_not_built_is_told_from_one_that_holds_nothing(material, fill):
    fill("candidate_pairs", [{"crawl": EARLY}])
    assert notes(pairs.funnel(material)) == [
        "Nothing to show yet: the SQL model funnel was not built. Do so with laion models run"
    ]
    fill("commits", [{"table_name": "funnel", "partition": f"crawl={EARLY}"}])
    assert notes(pairs.funnel(material)) == ["Nothing to show: the SQL model funnel was built, and holds no rows."]


def test_a_model_that_the_lake_s_own_project_lacks_is_not_built(con):
    from laion_assets.report.material import has_rows

    assert not has_rows(con, "a_model_of_another_project")


def test_the_funnel_sums_up_crawls_and_says_what_each_stage_lets_through(material, fill):
    fill("candidate_pairs", [{"crawl": EARLY}])
    stages = {"candidates": 100, "unique_pairs": 80, "downloaded": 40, "embedded": 40, "kept": 10}
    half = {stage: count // 2 for stage, count in stages.items()}
    fill(
        "funnel",
        [
            {"crawl": EARLY, "subset": "en", **stages},
            {"crawl": EARLY, "subset": "multi", **half},
            {"crawl": LATE, "subset": "en", **half},
        ],
    )
    plots, found = pairs.funnel(material)
    assert [plot.caption for plot in plots.plots] == [EARLY, LATE]
    assert lines(found) == [
        [EARLY, "en", "100", "80 (80.0%)", "40 (50.0%)", "40 (100.0%)", "10 (25.0%)"],
        [EARLY, "multi", "50", "40 (80.0%)", "20 (50.0%)", "20 (100.0%)", "5 (25.0%)"],
        [EARLY, "all", "150", "120 (80.0%)", "60 (50.0%)", "60 (100.0%)", "15 (25.0%)"],
        [LATE, "en", "50", "40 (80.0%)", "20 (50.0%)", "20 (100.0%)", "5 (25.0%)"],
        [LATE, "all", "50", "40 (80.0%)", "20 (50.0%)", "20 (100.0%)", "5 (25.0%)"],
        ["all crawls", "all", "200", "160 (80.0%)", "80 (50.0%)", "80 (100.0%)", "20 (25.0%)"],
    ]


def test_a_stage_that_let_nothing_through_has_no_share_after_it(material, fill):
    fill("candidate_pairs", [{"crawl": EARLY}])
    nothing = {"unique_pairs": 0, "downloaded": 0, "embedded": 0, "kept": 0}
    fill("funnel", [{"crawl": EARLY, "subset": "en", "candidates": 5, **nothing}])
    assert lines(pairs.funnel(material)[1])[0] == [EARLY, "en", "5", "0 (0.0%)", "0 (–)", "0 (–)", "0 (–)"]


@pytest.fixture
def similarities(fill):
    bins = [(0.2, 30, 0), (0.5, 20, 15)]
    rows = [
        {"crawl": crawl, "encoder": "model/abc", "language": language, "bin_low": low, "bin_high": low + 0.02}
        | {"pairs": count, "released": part}
        for crawl in (EARLY, LATE)
        for language in ("en", "ja", "de")
        for low, count, part in bins
    ]
    fill("clip_embeddings", [{"crawl": EARLY, "pair_id": 1}])
    fill("similarity_distribution", rows)


def test_similarities_are_shown_by_language_group_with_the_threshold_that_was_used(material, fill, similarities):
    row = scored(1, 0.6, released=True)
    fill("filtered_pairs", [released(row, threshold=0.5)])
    measured = {"encoder": "model/abc", "encoder_sha256": SHA["e"], "threshold": 0.4}
    fill("calibrations", [measured | {"language_group": group} for group in ("en", "multi")])
    blocks = pairs.similarity(material)
    assert [plot.caption for plot in blocks[0].plots] == [
        "en: 100 pairs, 30 of them released (30.0%).",
        "multi: 200 pairs, 60 of them released (30.0%).",
    ]
    en, multi = (str(plot.svg) for plot in blocks[0].plots)
    assert "threshold 0.500" in en
    assert "threshold 0.400" in multi  # nothing of it was released: what the calibration says
    assert len(lines(table(blocks, "Calibrated"))) == 2


def test_languages_are_summed_over_crawls(material, fill):
    fill("unique_pairs", [{"crawl": EARLY}])
    row = {"language": "en", "subset": "en", "unique_pairs": 30, "released": 10}
    fill("language_share", [row | {"crawl": EARLY}, row | {"crawl": LATE}, row | {"language": "ja", "crawl": LATE}])
    assert lines(pairs.languages(material)[0]) == [
        ["en", "60", "66.7%", "20", "66.7%", "33.3%"],
        ["ja", "30", "33.3%", "10", "33.3%", "33.3%"],
    ]


def test_languages_beyond_the_most_frequent_are_counted(material, fill):
    fill("unique_pairs", [{"crawl": EARLY}])
    codes = [f"{a}{b}" for a in "abcdef" for b in "uvwxyz"]
    rows = [{"crawl": EARLY, "language": c, "subset": "multi", "unique_pairs": 2, "released": 0} for c in codes]
    fill("language_share", rows)
    found = pairs.languages(material)[0]
    assert len(found.rows) == 24
    assert found.note == "12 more languages are left out."


def test_words_keep_their_order_and_language(material, fill):
    fill("unique_pairs", [{"crawl": EARLY}])
    fill("caption_lengths", [{"crawl": EARLY, "language": "ar", "characters_low": 10, "pairs": 5}])
    words = [("قطة", 9), ("كلب", 7), ("<script>", 1)]
    rows = [{"crawl": EARLY, "language": "ar", "word": word, "pairs": n, "rank": 1} for word, n in words]
    fill("caption_vocabulary", rows)
    found = table(pairs.captions(material), "words")
    assert lines(found) == [["ar", "قطة · كلب · <script>"]]
    assert found.rows[0][1].language == "ar"


def test_sizes_of_pictures_are_a_plot_where_there_are_several(material, fill):
    fill("images", [{"crawl": EARLY, "status": "success"}])
    row = {"crawl": EARLY, "aspect": "square", "pictures": 10, "bytes": 50_000}
    sides = [(0, 63), (64, 127), (1024, None)]
    fill("picture_sizes", [row | {"short_side_low": low, "short_side_high": high} for low, high in sides])
    blocks = pairs.pictures(material)
    assert isinstance(blocks[0], Chart)
    assert lines(table(blocks, "Shorter")) == [
        ["0 to 63", "10", "33.3%", "5.0 kB"],
        ["64 to 127", "10", "33.3%", "5.0 kB"],
        ["1,024 and more", "10", "33.3%", "5.0 kB"],
    ]
    assert lines(table(blocks, "Shapes")) == [["square", "30", "100.0%", "5.0 kB"]]


def test_tags_appear_once_pairs_are_scored(material, fill):
    fill("images", [{"crawl": EARLY, "status": "success"}])
    size = {"crawl": EARLY, "aspect": "square", "pictures": 1, "bytes": 1, "short_side_low": 0}
    fill("picture_sizes", [size])
    rates = {"crawl": EARLY, "subset": "en", "pairs": 4}
    fill("tag_rates", [rates | {"scored": 0}])
    assert "No pair was scored" in notes(pairs.pictures(material))[0]
    fill("tag_rates", [rates | {"scored": 4, "unsafe_rate": 0.25}])
    found = table(pairs.pictures(material), "Tags")
    assert lines(found) == [[EARLY, "en", "4", "4", "25.0%", "–", "–"]]


def test_drops_are_shares_of_all_that_went_in_and_failures_come_with_their_urls(con, fill):
    fill("candidate_pairs", [{"crawl": EARLY}])
    counts = [("images", "kept", 90), ("images", "http_4xx", 8), ("images", "dns", 2), ("filtered_pairs", "kept", 7)]
    rows = [{"stage": stage, "reason": reason, "rows": n} for stage, reason, n in counts]
    fill("drop_reasons", [row | {"crawl": crawl} for row in rows for crawl in (EARLY, LATE)])
    gone = FailedUrl(url="http://example.org/<b>", detail="HTTP status 404", http_status=404)
    slow = FailedUrl(url="http://example.org/x", detail="no name", http_status=None)
    material = Material(con=con, removals=Removals.none().matcher(), failures={"http_4xx": [gone], "dns": [slow]})
    blocks = drops.dropped(material)
    found = table(blocks, "20 of 200 urls")
    assert lines(found) == [["http_4xx", "16", "8.0%"], ["dns", "4", "2.0%"]]
    assert [cell.note for cell in (row[1] for row in table(blocks, "Some").rows)] == ["HTTP status 404", "no name"]
    assert "Nothing was dropped of 14 unique pairs." in notes(blocks)


def test_every_reason_has_its_examples_after_the_stage_that_drops_so(con, fill):
    fill("candidate_pairs", [{"crawl": EARLY}])
    fill(
        "drop_reasons",
        [
            {"crawl": EARLY, "stage": "filtered_pairs", "reason": r, "rows": 5}
            for r in ("markup", "kept", "not_embedded")
        ],
    )
    sample = {"markup": [object()]}
    material = Material(con=con, removals=Removals.none().matcher(), pairs=PairSamples(dropped=sample))  # type: ignore[arg-type]
    sheets = [block for block in drops.dropped(material) if isinstance(block, Sheet)]
    assert [(sheet.reason, sheet.note) for sheet in sheets] == [("markup", "The text holds markup.")]


def test_hosts_that_somebody_asked_to_remove_are_not_named(con, fill):
    import polars as pl

    fill("unique_pairs", [{"crawl": EARLY}])
    hosts = [("big.org", 60), ("private.example.com", 30), ("small.net", 10)]
    fill(
        "domain_statistics",
        [
            {"crawl": EARLY, "host": host, "pairs": n, "urls": n, "released": n // 2, "rank": place}
            for place, (host, n) in enumerate(hosts, start=1)
        ],
    )
    asked = load_removals(pl.DataFrame({"kind": ["domain"], "value": ["example.com"]}))
    blocks = web.domains(Material(con=con, removals=asked.matcher()))
    assert lines(table(blocks, "Largest")) == [
        ["big.org", "60", "60.0%", "60", "30", "50.0%"],
        ["small.net", "10", "10.0%", "10", "5", "50.0%"],
    ]


def test_the_share_of_the_largest_hosts_is_drawn_where_there_are_some(material, fill):
    fill("unique_pairs", [{"crawl": EARLY}])
    rows = [
        {
            "crawl": crawl,
            "host": f"{n}.org",
            "pairs": 1,
            "urls": 1,
            "released": 1,
            "rank": n,
            "cumulative_share": n / 12,
        }
        for crawl in (EARLY, LATE)
        for n in range(1, 13)
    ]
    fill("domain_statistics", rows)
    chart = web.domains(material)[0]
    assert isinstance(chart, Chart)
    assert [crawl for _, crawl in chart.legend] == [EARLY, LATE]
    assert f"{LATE}: 100% on 12 hosts" in str(chart.plots[0].svg)


def test_link_rot_tells_dead_links_from_refused_ones(material, fill):
    fill("images", [{"crawl": EARLY, "url": f"http://a.org/{n}", "status": "success"} for n in range(20)])
    row = {"crawl": EARLY, "host": "a.org", "host_urls": 20}
    found = [("http_4xx", 3), ("dns", 1), ("opted_out", 5)]
    fill("link_rot", [row | {"failure": failure, "urls": n} for failure, n in found])
    note, hosts = web.link_rot(material)
    assert "Of 20 urls 4 no longer lead to a picture (20.0%)" in note.text
    assert "5 more were refused" in note.text
    assert lines(hosts) == [["a.org", "20", "4", "20.0%", "http_4xx 3, dns 1"]]


def test_one_crawl_overlaps_with_nothing(material, fill):
    fill("crawl_snapshots", [{"crawl": EARLY}])
    assert notes(web.overlap(material)) == ["The lake has one crawl, so there is nothing to compare it with."]


def test_selections_are_compared_with_the_release_and_with_each_other(con, fill):
    rows = [scored(n, n / 10, released=n in (7, 8, 9)) for n in range(1, 10)]
    fill("filtered_pairs", [released(row) for row in rows if row["released"]])
    kept = ("crawl", "bucket", "pair_id", "url", "text", "sha256", "similarity")
    chosen = {"clip_top_30": range(6, 10), "high_resolution": range(1, 8)}
    for model, numbers in chosen.items():
        fill(model, [{name: rows[n - 1][name] for name in kept} for n in numbers])
    selections = [
        Selection(name="clip_top_30", description="The best (Somebody et al. 2023). What else there is to say."),
        Selection(name="high_resolution", description="The largest."),
        Selection(name="datacomp_basic", description="Others."),
        Selection(name="aesthetic", description="The nicest.", disabled="There are no scores."),
    ]
    material = Material(con=con, removals=Removals.none().matcher(), selections=selections)
    compared, overlap, without = web.selections(material)
    assert lines(compared) == [
        ["filtered_pairs", "3", "3", "0.800", "100.0%", "100.0%"],
        ["clip_top_30", "4", "4", "0.750", "75.0%", "100.0%"],
        ["high_resolution", "7", "7", "0.400", "14.3%", "33.3%"],
    ]
    assert compared.rows[1][0].note == "The best (Somebody et al. 2023)."
    assert lines(overlap)[1] == ["clip_top_30", "75.0%", "100.0%", "50.0%"]
    assert lines(without) == [["datacomp_basic", "not built"], ["aesthetic", "There are no scores."]]


def test_failed_tests_of_models_are_named(material, fill):
    row = {"model": "funnel", "scope": EARLY, "failing_rows": 0}
    fill("model_tests", [row | {"test": "a", "passed": True}, row | {"test": "b", "passed": False, "failing_rows": 3}])
    blocks = web.tables(material, {"funnel": {"version": 3, "rows": 2, "partitions": 1, "files": 1, "bytes": 2_500}})
    assert lines(blocks[0]) == [["funnel", "3", "2", "1", "1", "2.5 kB", "–"]]
    assert notes(blocks) == ["2 tests of SQL models, 1 failed."]
    assert lines(table(blocks, "Failed")) == [["funnel", EARLY, "b", "3"]]
