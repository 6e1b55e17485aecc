"""The page: everything in one file, nothing of the web in it but texts and thumbnails, written all at once."""

import base64
import io
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from selectolax.lexbor import LexborHTMLParser

from laion_assets.charts.style import style
from laion_assets.delta.folder import FolderStorage
from laion_assets.report import page as page_module
from laion_assets.report.blocks import Card, Place, Section, Sheet, Table, foreign, name, shown
from laion_assets.report.page import ReportOptions, render, write_report
from laion_assets.report.sheets import PIXELS, thumbnails
from tests.unit.report.conftest import picture, write_tar

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
PLACE = Place(tar="files/one.tar", key="000")
HOSTILE = [
    "<script>hacked=1</script>",
    '"><img src=http://evil.example/x onerror=hacked=1>',
    "' onmouseover='hacked=1",
    "</p></li></ul></style></script><svg onload=hacked=1>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:hacked=1",
    "]]><!-- --><style>*{display:none}</style>",
    "\u202eright to left \u2066 and never back",
    "nul \x00 and bell \x07",
]


def rendered(*cards: Card, images=None, **options) -> str:
    hosts = Table(title="hosts", headings=["host", "n"], rows=[[foreign(c.url), name(c.text)] for c in cards])
    sections = [
        Section(id="funnel", title="Funnel", intro="It is.", blocks=[Sheet(title="Sheet", cards=cards), hosts]),
    ]
    head = {"released": "1", "share": "2%", "counts": [], "crawls": [], "policies": [], "encoders": []}
    return render(
        name="a <lake>", head=head, sections=sections, images=images or {}, options=ReportOptions(**options), made_at=AT
    )


def attributes(html: str) -> list[tuple[str, str, str]]:
    tree = LexborHTMLParser(html)
    return [(node.tag, key, value or "") for node in tree.css("*") for key, value in node.attributes.items()]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_the_web_stay_texts(text):
    calm = LexborHTMLParser(rendered(Card(text="calm", url="calm", facts=("calm",), language="calm")))
    html = rendered(Card(text=shown(text), url=shown(text), facts=(text,), language=text))
    tree = LexborHTMLParser(html)
    assert [node.tag for node in tree.css("*")] == [node.tag for node in calm.css("*")]
    assert tree.css_first(".text").text() == " ".join(re.sub(r"[\x00\x07]", " ", text).split())
    assert not [key for _, key, _ in attributes(html) if key.startswith("on")]


def test_nothing_on_the_page_leads_elsewhere():
    html = rendered(
        Card(text="x", url="http://example.org/x.jpg", place=PLACE), images={PLACE: "data:image/webp;base64,"}
    )
    links = [
        value for _, key, value in attributes(html) if key in {"src", "href", "srcset", "action", "data", "poster"}
    ]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not re.search(r"url\((?!\s*['\"]?data:)|@import", html)
    policy = next(value for _, key, value in attributes(html) if key == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_texts_find_their_own_direction_and_language():
    tree = LexborHTMLParser(rendered(Card(text="قطة سوداء", language="ar"), Card(text="?", language="<x>")))
    arabic, other = tree.css(".text")
    assert arabic.attributes["dir"] == "auto"
    assert arabic.attributes["lang"] == "ar"
    assert "lang" not in other.attributes


def test_every_table_has_headings_and_a_caption_and_every_picture_a_text():
    tree = LexborHTMLParser(rendered(Card(text="x", url="y", place=PLACE, size=(3, 4)), images={PLACE: "data:,"}))
    table = tree.css_first("table")
    assert table.css_first("caption").text() == "hosts"
    assert [th.attributes["scope"] for th in table.css("th")] == ["col", "col", "row"]
    assert tree.css_first("img").attributes["alt"] == "Picture, 3 × 4 pixels"
    assert tree.css_first("section").attributes["aria-labelledby"] == tree.css_first("h2").attributes["id"]
    assert {"header", "nav", "main", "footer"} <= {node.tag for node in tree.css("*")}


def test_pictures_can_be_blurred_or_left_out():
    card, images = Card(text="x", place=PLACE), {PLACE: "data:image/webp;base64,AAAA"}
    assert not LexborHTMLParser(rendered(card, images=images)).css(".veiled")
    blurred = LexborHTMLParser(rendered(card, images=images, blur=True))
    assert len(blurred.css("label.veiled input[type=checkbox] + img")) == 1
    without = LexborHTMLParser(rendered(card, images=images, show_pictures=False))
    assert not without.css("img, .frame")
    assert without.css_first(".text").text() == "x"


def test_a_picture_that_cannot_be_read_says_so():
    tree = LexborHTMLParser(rendered(Card(text="x", place=PLACE)))
    assert not tree.css("img")
    assert tree.css_first(".frame").text(strip=True) == "The picture cannot be read."


def test_each_tar_is_read_once_and_damage_costs_only_its_own_pictures(tmp_path, monkeypatch):
    write_tar(tmp_path / "a.tar", {"0.jpg": picture(size=(600, 300)), "1.jpg": b"no picture", "2.jpg": picture("blue")})
    (tmp_path / "broken.tar").write_bytes(b"no tar" * 200)
    opened: list[str] = []
    from laion_assets.report import sheets

    read = sheets.read_pictures
    monkeypatch.setattr(sheets, "read_pictures", lambda tar, keys: opened.append(str(tar)) or read(tar, keys))
    wanted = [("a.tar", "0"), ("broken.tar", "0"), ("a.tar", "1"), ("a.tar", "2"), ("a.tar", "9"), ("gone.tar", "0")]
    found = thumbnails(FolderStorage(tmp_path), [Place(tar=tar, key=key) for tar, key in wanted])
    assert {(place.tar, place.key) for place in found} == {("a.tar", "0"), ("a.tar", "2")}
    assert sorted(opened) == [str(tmp_path / name) for name in ("a.tar", "broken.tar", "gone.tar")]
    content = base64.b64decode(found[Place(tar="a.tar", key="0")].partition(",")[2])
    with Image.open(io.BytesIO(content)) as small:
        assert small.size == (PIXELS, PIXELS // 2)


@pytest.mark.parametrize("tar", ["../outside.tar", "{outside}"])
def test_only_tars_of_the_lake_are_read(tmp_path, tar):
    write_tar(tmp_path / "outside.tar", {"0.jpg": picture()})
    (tmp_path / "lake").mkdir()
    place = Place(tar=tar.format(outside=tmp_path / "outside.tar"), key="0")
    assert thumbnails(FolderStorage(tmp_path / "lake"), [place]) == {}


def test_a_report_of_a_lake_without_crawls_is_written(empty_lake, tmp_path):
    output = tmp_path / "report.html"
    written = write_report(empty_lake, output, made_at=AT)
    assert output.stat().st_size == written
    tree = LexborHTMLParser(output.read_text(encoding="utf-8"))
    assert tree.css_first("h1").text() == empty_lake.root.name
    sections = [node.attributes["id"] for node in tree.css("section")]
    assert sections == [link.attributes["href"][1:] for link in tree.css("nav a")]
    assert sections[0] == "funnel"
    assert sections[-1] == "tables"


def test_the_same_lake_gives_the_same_bytes(empty_lake, tmp_path):
    pages = [tmp_path / "one.html", tmp_path / "two.html"]
    for page in pages:
        write_report(empty_lake, page, made_at=AT)
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_what_was_there_stays_if_the_page_cannot_be_made(empty_lake, tmp_path, monkeypatch):
    output = tmp_path / "report.html"
    output.write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_report(empty_lake, output)
    assert output.read_text() == "before"
    assert list(tmp_path.iterdir()) == [output]


def test_writes_while_the_page_is_made_are_told(empty_lake, tmp_path, monkeypatch):
    versions = iter([{"images": {"version": 1}}, {"images": {"version": 2}}])
    monkeypatch.setattr(page_module, "_sizes", lambda _: next(versions))
    monkeypatch.setattr(page_module.web, "tables", lambda *_: [])
    write_report(empty_lake, tmp_path / "report.html")
    warning = LexborHTMLParser((tmp_path / "report.html").read_text()).css_first(".warning").text()
    assert "written to while this page was made (images)" in warning


def test_long_texts_are_cut_and_say_so():
    assert shown("x" * 500) == "x" * 179 + "…"
    assert shown("a\n\tb  c") == "a b c"


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_from_the_paper(scheme):
    css = (style(), Path(page_module.__file__).with_name("page.css").read_text())
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", "".join(blocks)))
        for blocks in zip(*(re.findall(r":root \{(.*?)\}", one, re.S)[:2] for one in css), strict=True)
    )
    colors = light if scheme == "light" else light | dark
    for paper in ("paper", "wash"):
        for text in ("ink", "soft", "accent"):
            assert contrast(colors[text], colors[paper]) >= 4.5, (text, paper)
    for tone in ("en", "multi", "nolang", "all", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"):
        assert contrast(colors[tone], colors["paper"]) >= 3, tone
