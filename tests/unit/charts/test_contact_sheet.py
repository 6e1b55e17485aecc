"""Contact sheets: pictures open, notes say what they say, and no text of the web becomes markup in them."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from laion_assets.charts.contact_sheet import Sample, contact_strip
from tests.unit.images.files import encoded

SVG, HTML = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xhtml}"


def strip(*samples: Sample) -> ET.Element:
    return ET.fromstring(contact_strip(samples, "nothing to see"))


def words(drawn: ET.Element) -> list[str]:
    return ["".join(found.itertext()) for found in drawn.iter(f"{HTML}div")]


def test_a_strip_has_every_sample_and_says_where_there_is_none():
    drawn = strip(*(Sample(encoded(), f"text {n}", f"note {n}") for n in range(4)))
    assert len([*drawn.iter(f"{SVG}image")]) == 4
    assert words(drawn) == [f"note {n} text {n}" for n in range(4)]
    assert "".join(next(strip().iter(f"{SVG}text")).itertext()) == "nothing to see"


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGBA"), ("PNG", "I;16"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "CMYK"), ("GIF", "P"), ("WEBP", "RGB")],
)
def test_thumbnails_are_small_whatever_the_picture_is(kind, mode):
    (image,) = strip(Sample(encoded(kind, mode), "a text", "a note")).iter(f"{SVG}image")
    small = Image.open(io.BytesIO(base64.b64decode(image.attrib["href"].removeprefix("data:image/jpeg;base64,"))))
    assert max(small.size) == float(image.attrib["width"])
    assert abs(small.width / small.height - 1.5) < 0.05


@pytest.mark.parametrize(
    "image", [None, b"", b"<svg/>", encoded()[:60], encoded("JPEG")[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 99]
)
def test_a_picture_that_cannot_be_shown_leaves_its_text(image):
    drawn = strip(Sample(image, "a text", "a note"))
    assert [*drawn.iter(f"{SVG}image")] == []
    assert words(drawn) == ["a note a text"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert('x')</script><img src=x onerror=y>",
        "]]> --> </div></foreignObject>",
        "a control \x07 and a half of a pair \ud800",
        "&lt;b&gt; stays as it is written",
    ],
)
def test_texts_of_the_web_stay_texts(text):
    said = re.sub("[\x07\ud800]", " ", text)
    drawn = strip(Sample(None, text, text))
    assert {element.tag for element in drawn.iter()} <= {
        *(f"{SVG}{name}" for name in ("svg", "style", "rect", "foreignObject")),
        *(f"{HTML}{name}" for name in ("div", "i")),
    }
    assert " ".join(words(drawn)[0].split()) == " ".join(f"{said} {said}".split())


def test_scripts_stay_as_they_are_and_long_texts_are_cut():
    arabic, thai = "قطة سوداء على سجادة", "แมวสีดำนอนหลับ"
    assert words(strip(Sample(None, arabic, ""), Sample(None, thai, ""))) == [f" {arabic}", f" {thai}"]
    assert len(words(strip(Sample(None, "x" * 5000, "")))[0]) < 200
