"""Contact sheets: pictures open, notes say what they say, and no text of the web becomes markup in them."""

import base64
import io
import re

import pytest
from PIL import Image

from laion_assets.charts.contact_sheet import Sample, contact_sheet
from laion_assets.images.thumbnail import THUMBNAIL_PIXELS
from tests.unit.images.files import encoded


def cells(sheet: str) -> list[str]:
    """The cells of a Markdown table, without its head."""
    lines = sheet.splitlines()[2:]
    return [cell for line in lines for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_a_contact_sheet_is_a_table_of_all_samples():
    sheet = contact_sheet([Sample(encoded(), f"text {n}", f"note {n}") for n in range(5)], columns=4)
    lines = sheet.splitlines()
    assert len(lines) == 6
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    shown = [cell.strip() for cell in cells(sheet)]
    pictures, words = shown[:4] + shown[8:12], shown[4:8] + shown[12:]
    assert words == [*(f"text {n} *note {n}*" for n in range(5)), "", "", ""]
    assert [cell.startswith("![picture](data:image/jpeg;base64,") for cell in pictures] == [True] * 5 + [False] * 3
    assert contact_sheet([]) == "none"


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "CMYK"), ("GIF", "P"), ("WEBP", "RGB")],
)
def test_thumbnails_are_small_whatever_the_picture_is(kind, mode):
    cell, _ = cells(contact_sheet([Sample(encoded(kind, mode), "a text", "a note")], columns=1))
    found = re.search(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)", cell)
    small = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert max(small.size) == THUMBNAIL_PIXELS
    assert abs(small.width / small.height - 1.5) < 0.05


@pytest.mark.parametrize(
    "image", [None, b"", b"<svg/>", encoded()[:60], encoded("JPEG")[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 99]
)
def test_a_picture_that_cannot_be_shown_leaves_its_text(image):
    picture, words = cells(contact_sheet([Sample(image, "a text", "a note")], columns=1))
    assert picture.strip() == "no picture"
    assert "a text" in words


@pytest.mark.parametrize(
    "text",
    [
        "a | b || c",
        "first\nsecond\r\n| third |",
        "<script>alert('x')</script><img src=x onerror=y>",
        "[a link](javascript:x) ![picture](http://x/y.png)",
        "*bold* _under_ `code` ~~gone~~ # head",
        "back\\slash \\| pipe",
        "&lt;b&gt; stays as it is written",
    ],
)
def test_texts_of_the_web_stay_texts(text):
    sheet = contact_sheet([Sample(None, text, text)] * 2, columns=2)
    assert len(sheet.splitlines()) == 4
    assert len(cells(sheet)) == 4
    assert "<" not in sheet
    # Every character that Markdown could read as markup is escaped; what is left says what the text said.
    shown = re.sub(r"\\([\\`*_{}\[\]()#+\-.!|~])", "", cells(sheet)[2].rpartition(" *")[0])
    assert re.search(r"[\\`*_{}\[\]()#+\-.!|~]", shown) is None


def test_scripts_stay_as_they_are_and_long_texts_are_cut():
    arabic, thai = "قطة سوداء على سجادة", "แมวสีดำนอนหลับ"
    sheet = contact_sheet([Sample(None, arabic, ""), Sample(None, thai, ""), Sample(None, "x" * 5000, "")])
    assert arabic in sheet
    assert thai in sheet
    assert len(sheet) < 1000
