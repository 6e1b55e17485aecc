"""The models that are shipped, on a lake small enough to count by hand."""

import hashlib
import re
import shutil
from collections import Counter
from math import prod
from pathlib import Path

import pytest

from laion_assets.delta.lake import Lake
from laion_assets.lake.opening import lake_at
from laion_assets.lake.takedowns import request_takedown, withdraw_takedowns
from laion_assets.sql.build import build_model, partitions_of_model
from laion_assets.sql.build import test_model as rerun_tests
from laion_assets.sql.project import PROJECT, Project, load_project
from laion_assets.sql.session import connect, query
from tests.unit.sql.model_files import declared
from tests.unit.sql.shipped_lake import NEW, OLD, shipped_lake

CONCEPTS = {"car": "word", "red car": "words", "large green car": "words", "road": "word", "ship": "word"}
README = (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The shipped project with a concept list of one's own and the model of its README."""
    folder = tmp_path_factory.mktemp("models") / "project"
    shutil.copytree(PROJECT, folder)
    concepts = folder / "models" / "staging" / "concepts.sql"
    header = concepts.read_text().split("*/")[0]
    rows = ", ".join(f"('{concept}', '{kind}')" for concept, kind in CONCEPTS.items())
    concepts.write_text(f"{header}*/\nSELECT concept, kind FROM (VALUES {rows}) AS own (concept, kind)\n")
    [example] = re.findall(r"```jinja\n(.*?)```", README, re.DOTALL)
    (folder / "models" / "release" / "german_described.sql").write_text(
        example.replace("4 AS min_words", "3 AS min_words")
    )
    return folder


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory) -> Path:
    """The lake without models."""
    return shipped_lake(str(tmp_path_factory.mktemp("unbuilt") / "lake")).root


@pytest.fixture(scope="module")
def built(tmp_path_factory, unbuilt, folder) -> tuple[Lake, Project]:
    """The lake with every model built, and every test of them passed."""
    lake = lake_at(str(shutil.copytree(unbuilt, tmp_path_factory.mktemp("built") / "lake")))
    project = declared(lake, folder)
    for name in project.enabled:
        for partition in partitions_of_model(lake, project.models[name]):
            build_model(lake, project, name, partition, "run")
    return lake, project


@pytest.fixture(scope="module")
def con(built, folder):
    with connect(built[0], models=folder) as made:
        yield made


@pytest.fixture
def fetched(con):
    return lambda text: query(con, text).fetchall()


@pytest.fixture
def selected(fetched):
    """The keys of a selection, in order."""
    return lambda name: fetched(f"SELECT crawl, bucket, pair_id FROM {name} ORDER BY ALL")


def keys(*pairs):
    return sorted((OLD if pair_id < 7 else NEW, bucket, pair_id) for bucket, pair_id in pairs)


def test_pairs_that_two_encoders_scored_are_counted_once(fetched):
    assert fetched("FROM funnel ORDER BY ALL") == [
        (OLD, "en", 9, 8, 7, 7, 3),
        (OLD, "multi", 1, 1, 1, 1, 1),
        (OLD, "nolang", 1, 1, 1, 1, 0),
        (NEW, "en", 4, 3, 3, 3, 1),
    ]
    assert fetched("SELECT count(*), count(*) FILTER (released) FROM scored_pairs") == [(22, 5)]
    assert fetched("SELECT count(*), count(*) FILTER (released) FROM pool_pairs") == [(12, 5)]


def test_the_encoder_that_released_a_group_judges_it(fetched):
    assert fetched("SELECT crawl, subset, encoder, scored, released FROM group_encoders ORDER BY ALL") == [
        (OLD, "en", "ViT-B-32/openai", 7, 3),
        (OLD, "multi", "ViT-B-32/openai", 1, 1),
        (OLD, "nolang", "ViT-B-32/openai", 1, 0),
        (NEW, "en", "ViT-B-32/openai", 3, 1),
    ]


def test_what_was_dropped_and_what_was_kept(fetched):
    rows = fetched("SELECT stage, reason, rows, share FROM drop_reasons WHERE crawl = 'CC-MAIN-2026-04' ORDER BY ALL")
    assert rows == [
        ("candidate_pairs", "kept", 11, 11 / 14),
        ("candidate_pairs", "no_alt", 3, 3 / 14),
        ("clip_embeddings", "image_failed", 1, 1 / 17),
        ("clip_embeddings", "kept", 16, 16 / 17),
        ("filtered_pairs", "below_threshold_en", 5, 0.5),
        ("filtered_pairs", "image_failed", 1, 0.1),
        ("filtered_pairs", "kept", 4, 0.4),
        ("images", "http_4xx", 1, 0.1),
        ("images", "kept", 9, 0.9),
        ("unique_pairs", "duplicate", 1, 1 / 11),
        ("unique_pairs", "kept", 10, 10 / 11),
    ]


def test_languages_before_and_after_the_filter(fetched):
    assert fetched("FROM language_share ORDER BY ALL") == [
        (OLD, "de", "multi", 1, 1, 0.1, 0.25),
        (OLD, "en", "en", 8, 3, 0.8, 0.75),
        (OLD, "nolang", "nolang", 1, 0, 0.1, 0.0),
        (NEW, "en", "en", 3, 1, 1.0, 1.0),
    ]


def test_hosts_and_how_much_they_hold(fetched):
    assert fetched(f"SELECT * EXCLUDE (crawl) FROM domain_statistics WHERE crawl = '{OLD}' ORDER BY rank") == [
        ("a.example", 6, 6, 4, 0.6, 1, 0.6),
        ("b.example", 3, 3, 0, 0.3, 2, 0.9),
        ("gone.example", 1, 1, 0, 0.1, 3, 1.0),
    ]
    [(hosts, top, hhi, gini, half)] = fetched(
        f"SELECT hosts, top_1_share, hhi, gini, hosts_for_half FROM domain_concentration WHERE crawl = '{OLD}'"
    )
    assert (hosts, top, half) == (3, 0.6, 1)
    assert hhi == pytest.approx(0.36 + 0.09 + 0.01)
    # Mean absolute difference over twice the mean: (2 * (3 + 5 + 2)) / 9 / (2 * 10 / 3).
    assert gini == pytest.approx(20 / 9 / (20 / 3))
    assert fetched("FROM link_rot") == [(OLD, "gone.example", "http_4xx", 1, 1, 1.0)]


def test_similarities_fall_into_the_bin_they_belong_to(fetched):
    """0.6 and 0.3 as 32-bit floats lie just above, 0.9 just below: all three are the lower end of their bin."""
    rows = fetched("SELECT bin_low, sum(pairs), sum(released) FROM similarity_distribution "
                   "WHERE encoder <> 'other' GROUP BY ALL ORDER BY ALL")  # fmt: skip
    assert rows == [
        (0.1, 1, 0),
        (0.24, 1, 0),
        (0.26, 2, 1),
        (0.28, 1, 1),
        (0.3, 1, 1),
        (0.5, 1, 1),
        (0.6, 2, 1),
        (0.9, 3, 0),
    ]
    assert fetched("SELECT sum(pairs), sum(released) FROM similarity_distribution WHERE encoder = 'other'") == [(10, 0)]


def test_pictures_under_two_urls(fetched):
    picture = "same".rjust(64, "0")
    assert fetched("FROM duplicate_clusters") == [(picture, 2, 2, 2, 2, 1, NEW, "http://a.example/11", "large red car")]


def test_sizes_and_lengths_fall_into_classes(fetched):
    assert fetched("SELECT * EXCLUDE (bytes) FROM picture_sizes ORDER BY ALL") == [
        (OLD, 200, 255, "landscape", 8),
        (OLD, 200, 255, "tall", 1),
        (NEW, 200, 255, "landscape", 1),
        (NEW, 1024, 1535, "landscape", 2),
    ]
    assert fetched(f"SELECT * FROM caption_lengths WHERE crawl = '{OLD}' AND language = 'en' ORDER BY ALL") == [
        (OLD, "en", 0, 4, 1),
        (OLD, "en", 5, 9, 2),
        (OLD, "en", 10, 19, 3),
        (OLD, "en", 20, 29, 2),
    ]


def test_rates_are_null_until_there_are_scores(fetched):
    rows = fetched(f"SELECT * EXCLUDE (crawl) FROM tag_rates WHERE crawl = '{OLD}' ORDER BY ALL")
    assert rows == [("en", 3, 0, None, None, None), ("multi", 1, 0, None, None, None)]


def test_overlap_is_counted_on_what_each_crawl_held(fetched):
    assert fetched("FROM crawl_overlap") == [(OLD, NEW, 10, 4, 1, 1 / 13, 1)]


def test_words_are_ranked(fetched):
    first = f"FROM caption_vocabulary WHERE crawl = '{NEW}' AND rank <= 4"
    rows = fetched(f"SELECT word, pairs, rank {first} ORDER BY rank")
    assert rows == [("car", 2, 1), ("green", 2, 2), ("large", 2, 3), ("a", 1, 4)]


def test_a_caption_matches_words_and_sequences_of_words(fetched):
    found = {
        tuple(row[:3]): row[3]
        for row in fetched(
            "SELECT crawl, bucket, pair_id, list(concept ORDER BY concept) FROM concept_matches GROUP BY ALL"
        )
    }
    assert found == {
        (OLD, 0, 1): ["car", "red car", "road"],
        (OLD, 0, 2): ["car", "red car"],
        (OLD, 0, 6): ["car"],
        (NEW, 0, 7): ["car", "red car"],
        (NEW, 1, 8): ["car", "large green car"],
        (NEW, 1, 9): ["road"],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't STOP, go-kart!", ["don", "t", "stop", "go", "kart"]),
        ("Größe 42 cm", ["größe", "42", "cm"]),
        ("紫色のハートの画像です", ["紫色", "の", "ハート", "の", "画像", "です"]),
        ("赤いcar大", ["赤", "い", "car", "大"]),
        ("हिन्दी चित्र", ["हिन्दी", "चित्र"]),
        ("– ★ –", []),
    ],
)
def test_what_a_word_is(con, text, words):
    sql = (PROJECT / "models" / "staging" / "caption_words.sql").read_text()
    [expression] = re.findall(r"regexp_extract_all\(.*?\) AS words", sql, re.DOTALL)
    assert con.execute(f"SELECT {expression} FROM (SELECT ?::VARCHAR AS text)", [text]).fetchall() == [(words,)]


def test_laion_s_published_rules(selected, fetched):
    """Too short, too small a file, a GIF and too dissimilar are out; what the lake's policy dropped beyond is in."""
    assert selected("laion_thresholds") == keys((0, 1), (0, 2), (1, 1), (1, 4), (0, 7), (1, 8))
    assert fetched("SELECT DISTINCT threshold_source, subset, threshold FROM laion_thresholds ORDER BY ALL") == [
        ("published", "en", pytest.approx(0.28)), ("published", "multi", pytest.approx(0.26))
    ]  # fmt: skip
    assert fetched("SELECT pair_id FROM laion_thresholds WHERE NOT released") == [(8,)]


def test_datacomp_s_basic_filter(selected):
    assert selected("datacomp_basic") == keys((0, 1), (0, 4), (0, 5), (0, 7), (1, 8), (1, 9))


def test_the_top_30_percent_keep_ties(selected, fetched):
    """Of twelve pairs the place floor(0.3 * 12) from the top, counted from 0, has 0.6; another has it too."""
    assert selected("clip_top_30") == keys((0, 3), (0, 4), (0, 5), (0, 7), (1, 8))
    assert fetched("SELECT DISTINCT similarity_cutoff, pool_pairs FROM clip_top_30") == [(pytest.approx(0.6), 12)]


def test_high_resolution_is_of_released_pairs(selected):
    assert selected("high_resolution") == keys((0, 7))


def test_balancing_draws_for_every_concept_by_itself(fetched):
    matches = fetched("SELECT crawl, bucket, pair_id, concept FROM concept_matches ORDER BY ALL")
    counts = Counter(row[3] for row in matches)
    assert counts == {"car": 5, "red car": 3, "road": 2, "large green car": 1}
    t = 2  # concepts of up to 2 pairs have 3 of the 11 matches, those of up to 1 less than a tenth
    chance = {concept: min(1, t / count) for concept, count in counts.items()}

    def draw(pair_id, concept):
        digest = hashlib.md5(f"{pair_id} {concept}".encode(), usedforsecurity=False).digest()
        return (int.from_bytes(digest[8:], "little") >> 11) / 2**53

    expected = []
    for key in sorted({row[:3] for row in matches}):
        concepts = [row[3] for row in matches if row[:3] == key]
        if any(draw(key[2], concept) < chance[concept] for concept in concepts):
            expected.append((*key, concepts, pytest.approx(1 - prod(1 - chance[c] for c in concepts))))
    assert 0 < len(expected) < 6
    assert (NEW, 1, 8) in [row[:3] for row in expected]  # alone with its concept, so kept for certain
    found = fetched(
        "SELECT crawl, bucket, pair_id, concepts, probability FROM metaclip_balanced ORDER BY crawl, bucket, pair_id"
    )
    assert found == expected


def test_the_example_of_the_readme(selected):
    assert selected("german_described") == keys((1, 1))


@pytest.mark.parametrize(
    "text", [t for block in re.findall(r"```sql\n(.*?)```", README, re.DOTALL) for t in block.split(";") if t.strip()]
)
def test_every_query_of_the_readme_runs(fetched, text):
    assert isinstance(fetched(text), list)


def test_the_readme_names_every_model():
    project = load_project()
    named = re.findall(r"^\| `(\w+)/(\w+)` ", README, re.MULTILINE)
    assert sorted(named) == sorted((model.layer, name) for name, model in project.models.items())


def test_every_column_is_described():
    project = load_project()
    assert [
        f"{name}.{c.name}" for name, model in project.models.items() for c in model.columns if not c.description
    ] == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("pair_id", "7"),
        ("sha256", "same".rjust(64, "0")),
        ("url", "https://a.example/11#top"),
        ("domain", "example"),
        ("domain", "*.A.example"),
    ],
)
def test_the_pool_is_refused_while_it_holds_what_was_taken_down(tmp_path, unbuilt, folder, kind, value):
    lake = lake_at(str(shutil.copytree(unbuilt, tmp_path / "lake")))
    project = declared(lake, folder)
    for crawl in (OLD, NEW):
        build_model(lake, project, "group_encoders", {"crawl": crawl}, "run")

    def passed() -> dict[str, bool]:
        return {o.name: o.passed for o in rerun_tests(lake, project, "pool_pairs", {}, "run")}

    assert all(passed().values())
    request_takedown(lake, kind, value, None)
    assert not passed()["takedowns_are_out"]
    withdraw_takedowns(lake, kind, [value], "a mistake")
    assert all(passed().values())
    request_takedown(lake, kind, value, None)
    assert not passed()["takedowns_are_out"]
