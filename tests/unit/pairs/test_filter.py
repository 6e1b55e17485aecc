"""The filter keeps what a policy allows and counts every other pair under the first reason that holds."""

import hashlib
import math
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.consent.removals import Removals, load_removals
from laion_assets.pairs.filter import FilterCounts, FilterError, filter_pairs
from laion_assets.pairs.policy import POLICIES, FilterOptions, Policy
from laion_assets.text.language import language_group

PAIRS = pl.Schema(
    {
        "pair_id": pl.Int64,
        "url_id": pl.Int64,
        "url": pl.String,
        "text": pl.String,
        "language": pl.String,
        "license": pl.String,
    }
)
IMAGES = pl.Schema(
    {
        "url_id": pl.Int64,
        "url": pl.String,
        "final_url": pl.String,
        "status": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "original_width": pl.Int32,
        "original_height": pl.Int32,
        "byte_size": pl.Int64,
        "sha256": pl.String,
    }
)
EMBEDDINGS = pl.Schema(
    {
        "pair_id": pl.Int64,
        "sha256": pl.String,
        "encoder": pl.String,
        "encoder_sha256": pl.String,
        "similarity": pl.Float32,
    }
)
FILTERED = {
    "pair_id": pl.Int64,
    "url": pl.String,
    "text": pl.String,
    "width": pl.Int32,
    "height": pl.Int32,
    "license": pl.String,
    "language": pl.String,
    "similarity": pl.Float32,
    "punsafe": pl.Float32,
    "pwatermark": pl.Float32,
    "aesthetic_score": pl.Float32,
    "subset": pl.String,
    "sha256": pl.String,
    "policy": pl.String,
    "threshold": pl.Float32,
    "encoder": pl.String,
    "encoder_sha256": pl.String,
}
ENCODERS = {"en": "e1", "multi": "e2", "nolang": "e2"}
THRESHOLDS = pl.DataFrame(
    {
        "encoder_sha256": ["e1", "e2", "e2", "e3"],
        "language_group": ["en", "multi", "nolang", "en"],
        "threshold": [0.28, 0.26, 0.26, 0.9],
    }
)
CONNECTION = duckdb.connect(config={"threads": 1})


class Crawl:
    """Pairs, pictures and embeddings of one bucket, added one pair at a time."""

    def __init__(self) -> None:
        self.pairs: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.embeddings: list[dict[str, Any]] = []

    def add(self, text: str = "a red cube", language: str = "en", similarity: float | None = 0.3, **given: Any) -> str:
        """Add a pair with its picture and its embedding by the encoder of its language; returns the url."""
        number = len(self.pairs)
        url = given.get("url", f"http://h.example/{number}.jpg")
        pair = (given.get("pair_id", number), 1000, url, text, language, given.get("license"))
        self.pairs.append(dict(zip(PAIRS, pair, strict=True)))
        image = {"status": "success", "width": 512, "height": 256, "original_width": 1024, "original_height": 512}
        image |= {"url_id": 1000, "url": url, "final_url": url, "byte_size": 5000, "sha256": f"{number:064x}"}
        image |= {name: given[name] for name in IMAGES if name in given}
        if given.get("image", True):
            self.images.append(image)
        encoder = given.get("encoder", ENCODERS[language if language in ENCODERS else "multi"])
        if similarity is not None:
            embedding = (self.pairs[-1]["pair_id"], image["sha256"], f"name of {encoder}", encoder, similarity)
            self.embeddings.append(dict(zip(EMBEDDINGS, embedding, strict=True)))
        return str(url)

    def filter(
        self, folder: Path, policy: Policy = POLICIES["laion"], **options: Any
    ) -> tuple[pl.DataFrame, FilterCounts]:
        """Filter what was added; returns the released pairs and the counts."""
        tables = (
            ("pairs", self.pairs, PAIRS),
            ("images", self.images, IMAGES),
            ("vectors", self.embeddings, EMBEDDINGS),
        )
        for name, rows, schema in tables:
            CONNECTION.register(name, pl.DataFrame(rows, schema=schema).to_arrow())
        options = {"thresholds": THRESHOLDS, "encoders": ENCODERS, "output": folder / "kept.parquet"} | options
        counts = filter_pairs(
            CONNECTION, pairs="pairs", images="images", embeddings="vectors", policy=policy, **options
        )
        assert counts.rows_in == counts.rows_out + sum(counts.drops.values())
        assert counts.rows_out == sum(counts.subsets.values())
        return pl.read_parquet(options["output"]), counts


def test_a_released_pair_tells_by_what_it_was_judged(tmp_path: Path) -> None:
    crawl = Crawl()
    url = crawl.add(text="a red cube", language="en", similarity=0.3, license="CC-BY-4.0")
    kept, counts = crawl.filter(tmp_path)
    assert kept.rows(named=True) == [
        {
            "pair_id": 0,
            "url": url,
            "text": "a red cube",
            "width": 1024,
            "height": 512,
            "license": "CC-BY-4.0",
            "language": "en",
            "similarity": pytest.approx(0.3),
            "punsafe": None,
            "pwatermark": None,
            "aesthetic_score": None,
            "subset": "en",
            "sha256": f"{0:064x}",
            "policy": "laion",
            "threshold": pytest.approx(0.28),
            "encoder": "name of e1",
            "encoder_sha256": "e1",
        }
    ]
    assert kept.schema == FILTERED
    assert counts == FilterCounts(rows_in=1, rows_out=1, drops={}, subsets={"en": 1})


def test_each_language_group_has_its_own_threshold_and_encoder(tmp_path: Path) -> None:
    crawl = Crawl()
    for language in ("en", "de", "nolang", "zh"):
        crawl.add(language=language, similarity=0.27)
    crawl.add(language="ru", similarity=0.25)
    crawl.add(language="nolang", similarity=0.25)
    kept, counts = crawl.filter(tmp_path)
    assert kept.select("language", "subset", "encoder_sha256").rows() == [
        ("de", "multi", "e2"),
        ("nolang", "nolang", "e2"),
        ("zh", "multi", "e2"),
    ]
    assert counts.drops == {"below_threshold_en": 1, "below_threshold_multi": 1, "below_threshold_nolang": 1}
    assert counts.subsets == {"multi": 2, "nolang": 1}


def test_the_groups_are_those_of_the_text_library(tmp_path: Path) -> None:
    crawl = Crawl()
    for language in ("en", "nolang", "de", "eng", "EN", "", "zh"):
        crawl.add(language=language)
    kept, _ = crawl.filter(tmp_path, POLICIES["none"])
    assert kept["subset"].to_list() == kept.select(language_group(pl.col("language"))).to_series().to_list()


@pytest.mark.parametrize("threshold", [0.26, 0.28, 0.3])
def test_a_similarity_equal_to_the_threshold_is_kept(tmp_path: Path, threshold: float) -> None:
    crawl = Crawl()
    crawl.add(similarity=threshold)
    below = math.nextafter(threshold, 0) - 1e-7
    crawl.add(similarity=below)
    kept, counts = crawl.filter(tmp_path, threshold_overrides={"en": threshold})
    assert kept["pair_id"].to_list() == [0]
    assert kept.filter(pl.col("similarity") >= pl.col("threshold")).height == 1
    assert counts.drops == {"below_threshold_en": 1}


def test_every_reason_is_counted(tmp_path: Path) -> None:
    crawl = Crawl()
    crawl.add(image=False)
    crawl.add(status="failed", width=None, height=None, byte_size=None, sha256=None, similarity=None)
    crawl.add(similarity=None)
    crawl.add(encoder="e3")
    crawl.add(similarity=math.nan)
    gone = crawl.add()
    crawl.add(url="http://evil.example/x")
    crawl.add(pair_id=-9)
    crawl.add(sha256="f" * 64)
    crawl.add(text="four")
    crawl.add(text="IMG_2041.JPG")
    crawl.add(text="<b>a cube</b>")
    crawl.add(byte_size=4999)
    crawl.add(original_width=199)
    crawl.add(original_width=200, original_height=601)
    crawl.add(similarity=0.1)
    crawl.add()
    takedowns = {"kind": ["url", "domain", "pair_id", "sha256"], "value": [gone, "evil.example", "-9", "F" * 64]}
    policy = FilterOptions(policy="laion_clean", min_side=200, max_aspect_ratio=3.0).resolve()
    kept, counts = crawl.filter(tmp_path, policy, removals=load_removals(pl.DataFrame(takedowns)))
    assert counts == FilterCounts(
        rows_in=17,
        rows_out=1,
        drops={
            "image_missing": 1,
            "image_failed": 1,
            "not_embedded": 3,
            "removed_url": 1,
            "removed_domain": 1,
            "removed_pair": 1,
            "removed_sha256": 1,
            "too_short": 1,
            "file_name": 1,
            "markup": 1,
            "too_few_bytes": 1,
            "too_small": 1,
            "aspect": 1,
            "below_threshold_en": 1,
        },
        subsets={"en": 1},
    )
    assert kept["pair_id"].to_list() == [16]


SCORES = pl.Schema({"sha256": pl.String, "measures": pl.String, "priority": pl.Int32, "value": pl.Float32})


def scored(crawl: Crawl, *scores: tuple[int, str, int, float]) -> str:
    """Register scores (number of the picture, what is measured, place of the head, value) as a view; gives its name."""
    rows = [(crawl.images[number]["sha256"], *rest) for number, *rest in scores]
    CONNECTION.register("scores", pl.DataFrame(rows, SCORES, orient="row").to_arrow())
    return "scores"


def test_a_released_pair_carries_what_the_first_head_of_each_kind_said(tmp_path: Path) -> None:
    crawl = Crawl()
    for _ in range(3):
        crawl.add()
    scores = scored(
        crawl, (0, "unsafe", 1, 0.9), (0, "unsafe", 0, 0.25), (0, "aesthetic", 3, 5.5), (1, "watermark", 2, 0.5)
    )
    kept, _ = crawl.filter(tmp_path, scores=scores)
    assert kept.select("punsafe", "pwatermark", "aesthetic_score").rows() == [
        (0.25, None, 5.5), (None, 0.5, None), (None, None, None),
    ]  # fmt: skip
    assert kept.schema == FILTERED


def test_bounds_drop_what_is_beyond_them_and_what_nobody_scored(tmp_path: Path) -> None:
    crawl = Crawl()
    for text in ["a red cube"] * 6 + ["four"]:
        crawl.add(text=text)
    fine = [(n, what, 0, value) for n in range(4) for what, value in (("unsafe", 0.2), ("watermark", 0.5))]
    scores = scored(
        crawl, *fine, (0, "aesthetic", 0, 4.5), (1, "aesthetic", 0, 4.4), (3, "aesthetic", 0, 9),
        (4, "unsafe", 0, 0.21), (6, "unsafe", 0, 1.0), (5, "watermark", 0, 0.1),
    )  # fmt: skip
    policy = FilterOptions(max_punsafe=0.2, max_pwatermark=0.5, min_aesthetic=4.5).resolve()
    kept, counts = crawl.filter(tmp_path, policy, scores=scores)
    assert kept["pair_id"].to_list() == [0, 3]
    assert counts.drops == {"aesthetic_unknown": 1, "unaesthetic": 1, "unsafe": 2, "unsafe_unknown": 1}
    assert set(kept["policy"]) == {"laion+max_punsafe=0.2+max_pwatermark=0.5+min_aesthetic=4.5"}

    policy = FilterOptions(max_pwatermark=0.4).resolve()
    assert crawl.filter(tmp_path, policy, scores=scores)[1].drops == {
        "too_short": 1, "watermark": 4, "watermark_unknown": 1,
    }  # fmt: skip
    assert crawl.filter(tmp_path, policy)[1].drops == {"too_short": 1, "watermark_unknown": 6}


def test_a_picture_that_changed_since_it_was_embedded_is_not_embedded(tmp_path: Path) -> None:
    crawl = Crawl()
    crawl.add()
    crawl.images[0]["sha256"] = "other"
    assert crawl.filter(tmp_path)[1].drops == {"not_embedded": 1}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("url", "https://store.example/1.jpg", "removed_url"),
        ("domain", "store.example", "removed_domain"),
        ("hash", hashlib.md5(b"http://cdn.store.example/1.jpg").hexdigest(), "removed_hash"),
    ],
)
def test_a_picture_that_came_by_a_redirect_is_removed_by_the_address_it_came_from(
    tmp_path: Path, kind: str, value: str, reason: str
) -> None:
    crawl = Crawl()
    crawl.add(final_url=f"http://{'' if kind == 'url' else 'cdn.'}store.example/1.jpg")
    crawl.add(url="http://h.example/store.example")
    (tmp_path / "list").write_text(value)
    removals = load_removals(**{f"{kind}_lists": (str(tmp_path / "list"),)})
    kept, counts = crawl.filter(tmp_path, removals=removals)
    assert (counts.drops, kept["url"].to_list()) == ({reason: 1}, ["http://h.example/store.example"])


def test_a_hash_list_matches_pictures_by_their_sha256(tmp_path: Path) -> None:
    (tmp_path / "hashes").write_text("a" * 64)
    crawl = Crawl()
    crawl.add(sha256="a" * 64)
    _, counts = crawl.filter(tmp_path, removals=load_removals(hash_lists=(str(tmp_path / "hashes"),)))
    assert counts.drops == {"removed_hash": 1}


def test_the_policy_none_keeps_every_embedded_pair(tmp_path: Path) -> None:
    crawl = Crawl()
    for text, similarity in (("x", 0.9), ("", -0.5), ("IMG_1.jpg", 0.0), ("<b>", 1.0)):
        crawl.add(text=text, similarity=similarity, byte_size=1, original_width=1, original_height=9000)
    crawl.add(similarity=None)
    kept, counts = crawl.filter(tmp_path, POLICIES["none"], thresholds=THRESHOLDS.clear())
    assert kept["threshold"].to_list() == [None] * 4
    assert kept.schema == FILTERED
    assert counts.drops == {"not_embedded": 1}


def test_urls_of_one_name_keep_their_own_pictures(tmp_path: Path) -> None:
    crawl = Crawl()
    for size in (100, 200):
        crawl.add(original_width=size)
    assert crawl.filter(tmp_path)[0]["width"].to_list() == [100, 200]


def test_characters_are_counted_not_bytes(tmp_path: Path) -> None:
    crawl = Crawl()
    crawl.add(text="立方体红色")
    crawl.add(text="立方体红")
    crawl.add(text="👩‍👩‍👧")
    kept, _ = crawl.filter(tmp_path)
    assert kept["text"].to_list() == ["立方体红色", "👩‍👩‍👧"]


def test_awkward_texts_and_urls_come_out_as_they_went_in(tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    crawl = Crawl()
    texts = ['it\'s "quoted"', "e\u0301e\u0301e\u0301", "nul \x00 inside", "\u202eright to left", "x" * 500_000]
    for text in texts:
        crawl.add(text=text, url=f'http://h.example/it\'s?q="{text[:9]}"')
    policy = FilterOptions(policy="laion_clean").resolve()
    kept, _ = crawl.filter(folder, policy)
    assert kept["text"].to_list() == texts
    assert sorted(path.name for path in folder.iterdir()) == ["kept.parquet"]


def test_no_pairs_give_empty_files_with_all_columns(tmp_path: Path) -> None:
    kept, counts = Crawl().filter(tmp_path)
    assert kept.schema == FILTERED
    assert counts == FilterCounts(rows_in=0, rows_out=0, drops={}, subsets={})


def test_an_encoder_without_threshold_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "kept.parquet").write_text("as before")
    with pytest.raises(FilterError, match=r"e2 has no threshold for the language group multi.* set threshold_multi"):
        Crawl().filter(tmp_path, thresholds=THRESHOLDS.filter(encoder_sha256="e1"))
    assert (tmp_path / "kept.parquet").read_text() == "as before"


def test_a_group_without_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FilterError, match=r"an encoder for each of en, multi, nolang, found \['en'\]"):
        Crawl().filter(tmp_path, encoders={"en": "e1"})


def test_a_missing_column_leaves_no_stage_behind(tmp_path: Path) -> None:
    CONNECTION.register("broken", pl.DataFrame({"pair_id": [1]}).to_arrow())
    with pytest.raises(duckdb.BinderException):
        filter_pairs(
            CONNECTION,
            pairs="broken",
            images="broken",
            embeddings="broken",
            thresholds=THRESHOLDS,
            encoders=ENCODERS,
            policy=POLICIES["laion"],
            output=tmp_path / "kept.parquet",
            removals=Removals.none(),
        )
    assert list(tmp_path.iterdir()) == []


CASES = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["four", "a red cube", "photo.jpg", "&nbsp; a cube"]),
        "language": st.sampled_from(["en", "fr", "nolang"]),
        "similarity": st.sampled_from([None, 0.1, 0.27, 0.9]),
        "status": st.sampled_from(["success", "success", "failed"]),
        "byte_size": st.sampled_from([10, 9000]),
        "image": st.sampled_from([True, True, False]),
    }
)


@settings(deadline=None, max_examples=25)
@given(st.lists(CASES, max_size=15), st.sampled_from(list(POLICIES.values())), st.randoms(use_true_random=False))
def test_every_pair_is_accounted_for_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, cases: list[dict[str, Any]], policy: Policy, random: Any
) -> None:
    crawl, folder = Crawl(), tmp_path_factory.mktemp("filter")
    for case in cases:
        crawl.add(**case)
    kept, counts = crawl.filter(folder, policy)
    assert counts.rows_in == len(cases)
    assert set(kept["pair_id"]) == {number for number, case in enumerate(cases) if _allowed(case, policy)}
    for rows in (crawl.pairs, crawl.images, crawl.embeddings):
        random.shuffle(rows)
    again, counts_again = crawl.filter(tmp_path_factory.mktemp("again"), policy)
    assert again.equals(kept)
    assert counts_again == counts


def _allowed(case: dict[str, Any], policy: Policy) -> bool:
    if not case["image"] or case["status"] != "success" or case["similarity"] is None:
        return False
    least = {"en": 0.28, "fr": 0.26, "nolang": 0.26}[case["language"]]
    return (
        len(case["text"]) >= policy.min_text_length
        and case["byte_size"] >= policy.min_bytes
        and not (policy.drop_file_names and case["text"] == "photo.jpg")
        and not (policy.drop_markup and case["text"].startswith("&"))
        and (not policy.use_similarity or case["similarity"] >= least)
    )
