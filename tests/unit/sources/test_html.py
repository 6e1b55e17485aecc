"""Which picture an <img> shows, and in which encoding its page is written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.sources.html import ImageLink, best_candidate, decode_page, image_links, page_encoding

PLACEHOLDERS = [
    *("#", "#top", "", " ", "?", "/", "./", "about:blank", "About:Blank", "//:0", "javascript:void(0)", "JavaScript:;"),
    *("data:image/gif;base64,R0lGODlh", "blob:x", "null", "undefined", "{{src}}", "${src}"),
    *("placeholder.png", "/img/placeholder-600x400.jpg", "image-placeholder.svg", "loading.gif", "/a/lazy.gif?v=2"),
    *("/blank.png", "grey.gif", "/gray.png", "http://h/1x1.gif", "1x1.png", "spinner.svg", "ajax-loader.gif", "/t.gif"),
    *("lazyload.gif", "lazy_placeholder.gif", "/spacer.gif", "transparent.png", "preloader.svg", "loader.gif#x"),
]
PICTURES = [
    *(
        "a.jpg",
        "/downloading.jpg",
        "unloading-dock.jpg",
        "/blankets.jpg",
        "greyhound.jpg",
        "/loading/dock.jpg",
        "b.jpg",
    ),
    *("displaceholder.jpg", "photo.jpg?loading.gif", "/t.jpg"),
]
LAZY_ATTRIBUTES = [
    *(
        "data-src",
        "DATA-SRC",
        "data-lazy-src",
        "data-original",
        "data-lazy",
        "data-lazyload",
        "data-cfsrc",
        "data-echo",
    ),
    *("data-pagespeed-lazy-src", "data-image", "data-srcset", "data-lazy-srcset", "srcset", "lazy-src"),
]


def read(content: bytes, charset: str | None) -> str:
    return decode_page(content, page_encoding(content, charset))


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
        # what only holds the place beside a lazy source
        *((f'<img src="{src}" data-src="/real.jpg">', "/real.jpg") for src in PLACEHOLDERS),
        *((f'<img src="{src}" srcset="s.jpg 1x, l.jpg 2x">', "l.jpg") for src in PLACEHOLDERS),
        *((f'<img src="#" {name}="/real.jpg">', "/real.jpg") for name in LAZY_ATTRIBUTES),
        *((f'<img src="{src}">', src.strip() or None) for src in PLACEHOLDERS),
        *((f'<img src="/loading.gif" data-src="{src}">', "/loading.gif") for src in PLACEHOLDERS),
        *((f'<img src="{src}" data-src="/other.jpg">', src) for src in PICTURES),
        ('<img src="/lazy.gif" data-src="{{photo.url}}" data-original="b.jpg">', "b.jpg"),
        ('<picture><source data-srcset="a.webp"><img src="/blank.png" alt="x"></picture>', "a.webp"),
        # HTML standard, update the source set: the <source> elements before the <img> in its <picture>
        ('<picture><img alt="x"><source srcset="a.webp"></picture>', None),
        ('<picture><source srcset="a.webp"><img alt="x"><source srcset="b.webp"></picture>', "a.webp"),
        ('<picture><source media="print" srcset="a.webp"><source srcset="b.webp"><img></picture>', "b.webp"),
        ('<picture><source src="a.webp"><img></picture>', None),
        ('<picture><div><source srcset="a.webp"></div><img></picture>', None),
        ('<video><source srcset="a.webp"></video><img src="b.jpg">', "b.jpg"),
        ('<image src="a.jpg">', "a.jpg"),
    ],
)
def test_the_source_of_an_image(html, reference):
    link = only(html)
    assert (link.reference if link else None) == reference


@pytest.mark.parametrize(
    ("html", "reference"),
    [
        ('<img src="data:," data-src="/products/white-dress.jpg">', "/products/white-dress.jpg"),
        ('<img src="#" data-src="/p/grey-sofa.jpg">', "/p/grey-sofa.jpg"),
        ('<img src="about:blank" data-original="/p/empty-room.jpg">', "/p/empty-room.jpg"),
        ('<img src="/loading.gif" data-src="/p/pixel-7.jpg">', "/p/pixel-7.jpg"),
        ('<img src="/loading.gif" data-src="/p/sofa-white.jpg">', "/p/sofa-white.jpg"),
        ('<img src="/loading.gif" data-src="/p/spinner-bait.jpg">', "/p/spinner-bait.jpg"),
        ('<img src="data:," data-src="/p/white.jpg">', "/p/white.jpg"),
        ('<img data-src="/p/clear-glass.jpg">', "/p/clear-glass.jpg"),
        ('<img srcset="/p/white-cat-100.jpg 100w, /p/white-cat-900.jpg 900w">', "/p/white-cat-900.jpg"),
        ('<picture><source srcset="/p/white-dress.webp"><img src="data:,"></picture>', "/p/white-dress.webp"),
        ('<picture><source srcset="/blank.jpg" data-srcset="/a.webp"><img></picture>', "/a.webp"),
        ('<img src="/white-dress.jpg" data-src="/other.jpg">', "/white-dress.jpg"),
        ('<img src="/img-blank.gif" data-src="/other.jpg">', "/other.jpg"),
        ('<img src="#" data-src="/loading.gif" data-original="/white.jpg" data-lazy="/real.jpg">', "/real.jpg"),
    ],
)
def test_a_picture_whose_name_begins_like_a_placeholders_is_found(html, reference):
    assert only(html).reference == reference


@pytest.mark.parametrize(
    ("html", "reference"),
    [
        *(
            (f'<img src="{src}" {name}="{flag}">', src)
            for src in ("/clear-lake.jpg", "placeholder.png", "blank.gif", "#")
            for name in ("data-image", "data-lazy", "data-lazyload", "data-src", "data-original", "data-url")
            for flag in ("true", "False", "1", "4711", "yes", "lazy", "auto")
        ),
        ('<img src="/white-house.jpg" data-url="https://h.test/product/42">', "/white-house.jpg"),
        ('<img src="blank.gif" data-url="/page.html">', "blank.gif"),
        ('<img src="blank.gif" data-image="product-42">', "blank.gif"),
        ('<img src="blank.gif" data-image="/media/42">', "/media/42"),
        ('<img src="blank.gif" data-image="a.jpg">', "a.jpg"),
        ('<img src="blank.gif" data-url="/a.JPG?w=9">', "/a.JPG?w=9"),
        ('<img data-lazy="true">', None),
    ],
)
def test_a_flag_or_a_page_is_no_source(html, reference):
    link = only(html)
    assert (link.reference if link else None) == reference


@pytest.mark.parametrize(
    ("html", "reference"),
    [
        *(
            (f"<img src='{src}' data-src='/real.jpg'>", "/real.jpg")
            for src in (
                *("/x/{{img}}", "https://x.test/${img}", "/x/<%= img %>", "/x/%7B%7Bimg%7D%7D", "/x/{img}.jpg"),
                *("/x/{% img %}", "/x/<?php echo 1 ?>", "/x/{$img}", "/x_%7Bwidth%7Dx.jpg"),
            )
        ),
        ('<img data-src="/a_{width}x.jpg" data-widths="[180, 360]" srcset="/a_900x.jpg">', "/a_900x.jpg"),
        ('<img data-srcset="/a_{width}x.jpg 900w, /a.jpg 180w">', "/a.jpg"),
        # lazysizes, plugin rias: {width} is one of data-widths
        ('<img data-src="//h.test/a_{width}x.jpg" data-widths="[180, 1080, 360]">', "//h.test/a_1080x.jpg"),
        ('<img src="/blank.gif" data-src="/a_{width}x.jpg" data-widths="[180]">', "/a_180x.jpg"),
        # what is left of these is counted as a template, or a bad address
        ('<img data-src="/a_{width}x.jpg" data-widths="auto">', "/a_{width}x.jpg"),
        ('<img data-src="/a_{width}x.jpg">', "/a_{width}x.jpg"),
        ('<img data-srcset="/a_{{w}}x.jpg 900w">', "/a_{{w}}x.jpg"),
        ('<img src="/x/{{img}}">', "/x/{{img}}"),
    ],
)
def test_a_template_gives_way_to_a_picture(html, reference):
    assert only(html).reference == reference


@pytest.mark.parametrize(
    "src",
    [
        *("..", "../", "http://", "https://", "https:", "http:", "file:///C:/a.jpg", "/undefined", "null", "undefined"),
        *("/null", "NaN", "none", "//", "https://?"),
    ],
)
def test_an_address_of_nothing_gives_way(src):
    assert only(f'<img src="{src}" data-src="/real.jpg">').reference == "/real.jpg"
    assert only(f'<img src="{src}">').reference == src


@pytest.mark.parametrize(
    ("media", "reference"),
    [
        *(
            ("(max-width: 100px)", "/b.jpg"),
            ("screen and (MAX-WIDTH:47.9375em)", "/b.jpg"),
            ("(width <= 600px)", "/b.jpg"),
        ),
        *(("(max-width: 1600px)", "/a.jpg"), ("(min-width: 600px)", "/a.jpg"), ("", "/a.jpg")),
        ("(max-width: 600px), (min-width: 900px)", "/a.jpg"),
    ],
)
def test_a_source_for_narrow_screens_comes_after_others(media, reference):
    narrow = f'<source media="{media}" srcset="/a.jpg">'
    assert only(f'<picture>{narrow}<source srcset="/b.jpg"><img></picture>').reference == reference
    assert only(f"<picture>{narrow}<img></picture>").reference == "/a.jpg"


def test_a_base_for_browsers_without_scripts_is_none():
    # HTML standard, 13.2.6.4.4 and 13.2.6.4.7: with scripting, what is in <noscript> is text
    for page in ("<head>%s</head>", "<body><p>x</p>%s"):
        assert image_links(page % "<noscript><base href=t></noscript><base href=b>").base == "b"
        assert image_links(page % "<NoScript class=a><p><BASE href=t><base href=u></noscript>").base is None
        assert image_links(page % "<noscript></noscript><base href=b><noscript><base href=t></noscript>").base == "b"


def test_alt_texts_come_with_entities_decoded_and_in_document_order():
    page = image_links('<img src=1 alt="a &quot;b&quot; &amp; &eacute;"><p><img src=2><img src=3 alt=""></p>')
    assert [(link.reference, link.alt) for link in page.links][:2] == [("1", 'a "b" & é'), ("2", None)]
    assert not page.links[2].alt


def test_the_first_base_with_an_address_counts():
    assert image_links('<base target=_top><base href="/b/"><base href="/c/">').base == "/b/"
    assert image_links("<p>").base is None
    # HTML standard, the base element: an empty address is one, and resolves to the page
    assert image_links('<base href=""><base href="/c/">').base == ""
    assert image_links('<base href><base href="/c/">').base == ""
    # an element of another namespace is none
    assert image_links('<svg><base href="/s/"></svg><base href="/c/">').base == "/c/"
    assert image_links('<math><mrow><base href="/s/"></mrow></math><base href="/c/">').base == "/c/"
    assert image_links('<svg><foreignObject><base href="/f/"></foreignObject></svg><base href="/c/">').base == "/f/"
    assert image_links('<template><base href="/t/"></template><base href="/c/">').base == "/c/"


def test_a_lazy_image_and_its_twin_for_browsers_without_scripts_are_one_picture():
    page = image_links('<img src="#" data-src="a.jpg" alt="x"><noscript><img src="a.jpg" alt="x"></noscript>')
    assert page.links == [ImageLink("a.jpg", "x")] * 2


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
        ("a.jpg (1x, 2x) 1x, b.jpg 2x", "b.jpg"),
        ("a.jpg 1x,b.jpg 2x", "b.jpg"),
        ("a.jpg,\nb.jpg 2x", "b.jpg"),
        ("#, about:blank 3x, b.jpg 2x", "b.jpg"),
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
            "<meta http-equiv=Content-Type content='text/html; charset=gb2312'>红".encode("gb18030"),
            None,
            "<meta http-equiv=Content-Type content='text/html; charset=gb2312'>红",
        ),
        ('<meta charset="utf-16">é'.encode(), None, '<meta charset="utf-16">é'),
        ("é".encode("utf-8-sig"), "windows-1251", "é"),
        ("é".encode(), "no-such-charset", "é"),
        ("é".encode(), "unicode_escape", "é"),
        ("é".encode(), "base64", "é"),
    ],
)
def test_pages_are_decoded_as_browsers_do(content, header, text):
    assert read(content, header) == text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.none() | st.text(max_size=12))
def test_any_bytes_are_a_page(content, charset):
    image_links(read(b"<img src=x alt='" + content, charset))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_srcset_has_at_most_one_best_candidate(srcset):
    best = best_candidate(srcset)
    assert best is None or best in srcset
