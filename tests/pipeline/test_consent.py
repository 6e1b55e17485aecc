"""What pages of a crawl say of their use, from the crawl's files to what is let in, and to the ledger."""

import json
from pathlib import Path

import pytest

from laion_assets.sample.archive import write_crawl
from laion_assets.sample.pages import Page
from tests.pipeline.places import Place

pytestmark = [pytest.mark.slow, pytest.mark.integration]

FIRST, SECOND = "CC-MAIN-2026-04", "CC-MAIN-2026-08"


def page(name: str, meta: str, *pictures: str) -> Page:
    images = "".join(f'<img src="http://i.test/{p}.jpg" alt="a picture named {p}">' for p in pictures)
    return Page(url=f"http://{name}.test/", html=f"<html><head>{meta}</head><body>{images}</body></html>")


NOAI = '<meta name="robots" content="NoAI, nofollow">'
RESERVED = '<meta name="tdm-reservation" content="1"><meta name="tdm-policy" content="https://p.test/">'
NOINDEX = '<meta name="robots" content="noindex">'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lake of two crawls up to unique_pairs. The second says no to what the first let in."""
    made = Place(tmp_path_factory.mktemp("consent"))
    pages = [page("a", "", "free", "shown"), page("b", NOAI, "shown", "no"), page("c", NOINDEX, "unlisted")]
    write_crawl(made.folder / "web", FIRST, [*pages, page("d", RESERVED, "reserved")], 2)
    write_crawl(made.folder / "web", SECOND, [page("a", NOAI, "free", "new")], 2)
    build(made)
    return made


def build(place: Place, **settings: str) -> str:
    lake = {"LAION_SOURCE": str(place.folder / "web"), "LAION_SHARDS": "2", "LAION_BUCKETS": "2"}
    return place.good("build", FIRST, SECOND, "--until", "unique_pairs", **lake, **settings)


def ask(place: Place, query: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in place.good("sql", query, "--format", "json").splitlines()]


def let_in(place: Place, crawl: str = FIRST) -> dict[object, object]:
    rows = ask(place, f"SELECT url, let_in_despite FROM unique_pairs WHERE crawl = '{crawl}' ORDER BY url")
    return {Path(str(row["url"])).stem: row["let_in_despite"] for row in rows}


def test_a_no_keeps_a_picture_out_on_every_page_and_is_counted(place: Place) -> None:
    assert let_in(place) == {"free": None, "unlisted": None}
    assert let_in(place, SECOND) == {}
    [counted] = ask(
        place,
        f"SELECT sum(drops['opted_out_meta_robots']) AS robots, sum(drops['opted_out_tdm_meta']) AS tdm FROM commits"
        f" WHERE table_name = 'unique_pairs' AND crawl = '{FIRST}'",
    )
    assert counted == {"robots": 3, "tdm": 1}


def test_the_ledger_says_who_said_what_where_and_when(place: Place) -> None:
    place.good("takedown", "domain", "gone.test", "--reason", "rights: asked", "--yes")
    rows = ask(place, "FROM opt_outs ORDER BY source, crawl, subject")
    assert [(r["subject"], r["signal"], r["raw"], r["forbids"]) for r in rows] == [
        ("http://b.test/", "meta_robots", "NoAI, nofollow", ["train"]),
        ("http://c.test/", "meta_robots", "noindex", ["index"]),
        ("http://d.test/", "tdm_meta", "tdm-reservation: 1 https://p.test/", ["train"]),
        ("http://a.test/", "meta_robots", "NoAI, nofollow", ["train"]),
        ("gone.test", "takedown", "rights: asked", ["fetch", "train", "index"]),
    ]
    said = rows[0]
    assert str(said["evidence_file"]).startswith(f"crawl-data/{FIRST}/")
    assert int(str(said["evidence_offset"])) > 0
    assert str(said["seen_at"]).startswith("2026-01-")
    assert {r["valid_until"] for r in rows} == {None}


def test_what_changed_its_answer_since_can_be_asked(place: Place) -> None:
    rows = ask(place, "SELECT url, crawl, signals, said_in FROM consent_changes WHERE changed_at > '2026-02-01'")
    assert rows == [{"url": "http://i.test/free.jpg", "crawl": FIRST, "signals": ["meta_robots"], "said_in": [SECOND]}]
    assert ask(place, "FROM consent_changes WHERE changed_at <= '2026-02-01'") == []


def test_a_training_set_with_a_known_no_is_refused(place: Place) -> None:
    recipes = place.folder / "recipes"
    recipes.mkdir()
    wanted = {"recipe": {"arm": "all", "selection": {"source": "unique_pairs"}}}
    told = {"model": "ViT-B-32", "samples_per_shard": 16, "samples_seen": 32, "epochs": 1, "global_batch_size": 16}
    (recipes / "recipes.yaml").write_text(json.dumps({**told, "learning_rate": 1e-3, "recipes": wanted}))
    made = place.run("train", "recipe", LAION_RECIPES=str(recipes))
    assert made.returncode != 0
    assert "pages say no to 1 pair of the recipe (meta_robots)" in " ".join((made.stdout + made.stderr).split())


def test_a_release_with_a_known_no_is_refused_until_its_url_is_denied(place: Place) -> None:
    def release(name: str, **settings: str) -> tuple[int, str]:
        made = place.run(
            "release", name, "--from", "unique_pairs", "--links-only", "--formats", "laion",
            "--to", str(place.folder / name), **settings
        )  # fmt: skip
        return made.returncode, " ".join((made.stdout + made.stderr).split())

    code, told = release("one")
    assert code != 0
    assert "pages say no to 1 pair of the release (meta_robots)" in told
    denied = place.folder / "denied.txt"
    denied.write_text("".join(f"{row['url']}\n" for row in ask(place, "SELECT url FROM consent_changes")))
    deny = {"LAION_DENY__URL_LISTS": str(denied)}
    build(place, **deny)
    assert let_in(place) == {"unlisted": None}
    assert release("two", **deny)[0] == 0


def test_a_policy_makes_stale_what_it_decides_and_lets_in_what_it_passes_over(place: Place) -> None:
    build(place)  # the takedown before made it stale
    assert "nothing to do" in build(place)
    build(place, LAION_CONSENT__META_ROBOTS="false")
    assert let_in(place) == {"free": None, "no": ["meta_robots"], "shown": ["meta_robots"], "unlisted": None}
