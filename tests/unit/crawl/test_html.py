"""Which picture an <img> shows, and in which encoding its page is written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.crawl.html import ImageLink, best_candidate, decode_page, image_links


def only(html: str) -> ImageLink | None:
    links = image_links(html).links
    assert len(links) <= 1
    return links[0] if links else None


@pytest.mark.parametrize(
    ("html", "reference"),
    [
        ('<img src="a.jpg" alt="x">', "a.jpg"),
        ("<IMG SRC=a.jpg>", "a.jpg"),
        ('<img src=" a.jpg " srcset="b.jpg 2x">', "a.jpg"),
        ('<img data-src="a.jpg">', "a.jpg"),
        ('<img src="data:image/gif;base64,R0" data-src="a.jpg">', "a.jpg"),
        ('<img src="/blank.gif" data-original="a.jpg">', "a.jpg"),
        ('<img src="data:x" srcset="s.jpg 320w, l.jpg 1280w, m.jpg 640w">', "l.jpg"),
        ('<img data-srcset="s.jpg 1x, l.jpg 2x">', "l.jpg"),
        ('<picture><source type="image/webp" srcset="a.webp 2x"><img alt="x"></picture>', "a.webp"),
        ('<picture><source type="image/jxl" srcset="a.jxl"><source srcset="b.png"><img></picture>', "b.png"),
        ('<picture><source srcset="a.webp"><img src="b.jpg"></picture>', "b.jpg"),
        ('<img src="data:image/gif;base64,R0">', "data:image/gif;base64,R0"),
        ('<img src="a.jpg?x=1&amp;y=2">', "a.jpg?x=1&y=2"),
        ('<noscript><img src="a.jpg"></noscript>', "a.jpg"),
        ('<!-- <img src="no.jpg"> --><script>"<img src=no.jpg>"</script><img src="a.jpg">', "a.jpg"),
        ('<img alt="x" src="">', None),
        ('<img alt="x">', None),
    ],
)
def test_the_source_of_an_image(html, reference):
    link = only(html)
    assert (link.reference if link else None) == reference


def test_alt_texts_come_with_entities_decoded_and_in_document_order():
    page = image_links('<img src=1 alt="a &quot;b&quot; &amp; &eacute;"><p><img src=2><img src=3 alt=""></p>')
    assert [(link.reference, link.alt) for link in page.links][:2] == [("1", 'a "b" & é'), ("2", None)]
    assert not page.links[2].alt


def test_the_first_base_with_an_address_counts():
    assert image_links('<base target=_top><base href="/b/"><base href="/c/">').base == "/b/"
    assert image_links("<p>").base is None


@pytest.mark.parametrize(
    ("srcset", "best"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg 1x, b.jpg 2x", "b.jpg"),
        ("a.jpg 300w, b.jpg 200w", "a.jpg"),
        ("a,b.jpg 100w, c.jpg 50w", "a,b.jpg"),
        ("a.jpg, b.jpg 1.5x", "b.jpg"),
        ("data:image/gif;base64,R0 1x, b.jpg .5x", "b.jpg"),
        (" , ,", None),
        ("", None),
        ("a.jpg nonsense, b.jpg 2x", "b.jpg"),
    ],
)
def test_the_best_candidate_of_a_srcset(srcset, best):
    assert best_candidate(srcset) == best


@pytest.mark.parametrize(
    ("content", "header", "text"),
    [
        ("é".encode(), None, "é"),
        ("é".encode("latin-1"), None, "é"),
        ("é".encode("latin-1"), "ISO-8859-1", "é"),
        ("“é”".encode("cp1252"), "latin1", "“é”"),
        ("красный".encode("cp1251"), "windows-1251", "красный"),
        ('<meta charset="koi8-r">красный'.encode("koi8-r"), None, '<meta charset="koi8-r">красный'),
        (
            "<meta http-equiv=x content='text/html; charset=gb2312'>红".encode("gb18030"),
            None,
            "<meta http-equiv=x content='text/html; charset=gb2312'>红",
        ),
        ('<meta charset="utf-16">é'.encode(), None, '<meta charset="utf-16">é'),
        ("é".encode("utf-8-sig"), "windows-1251", "é"),
        ("é".encode(), "no-such-charset", "é"),
        ("é".encode(), "unicode_escape", "é"),
        ("é".encode(), "base64", "é"),
    ],
)
def test_pages_are_decoded_as_browsers_do(content, header, text):
    assert decode_page(content, header) == text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.none() | st.text(max_size=12))
def test_any_bytes_are_a_page(content, charset):
    image_links(decode_page(b"<img src=x alt='" + content, charset))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_srcset_has_at_most_one_best_candidate(srcset):
    best = best_candidate(srcset)
    assert best is None or best in srcset
