"""No page takes the parser for ever: what would is refused, and what people write is not."""

import os
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from time import process_time

import pytest

from laion_assets.sources.html import PageTooCostlyError, image_links
from laion_assets.sources.page_cost import too_costly

UNCLOSED = [
    *(
        "div",
        "span",
        "b",
        "font",
        "a",
        "i",
        "table",
        "select",
        "option",
        "svg",
        "math",
        "p",
        "li",
        "dd",
        "object",
        "ul",
    ),
    *("template", "button", "form", "h1", "nobr", "custom"),
]


def numbered(form: str, count: int) -> str:
    return "".join(form.format(i) for i in range(count))


def pages(count: int) -> Iterator[tuple[str, str]]:
    """Pages of one shape each, of about this many tags."""
    for name in UNCLOSED:
        yield f"<{name}>", f"<{name}>" * count
        yield f"<{name} id>", numbered(f"<{name} id={{}}>", count)
    for unit in (
        "<picture><source><img>",
        "<picture><source srcset='a 1x, b 2x'><img alt=a>",
        "<table><tr><td>",
        "<ul><li>",
        "<b><p>",
        "<a><div>",
        "<dl><dd>",
        "<svg><desc><div>",
        "<div><!--</div>-->",
        "<div a='</div>'>",
        "<div></span>",
        "<div><object></div></object>",
        "<rt/>",
        "<math><script><div>",
    ):
        yield unit, unit * (count // unit.count("<"))
    for closer in ("p", "div", "x", "b", "svg"):
        yield f"then </{closer}>", "<span>" * (count // 2) + f"</{closer}>" * (count // 2)
        yield f"closed by </{closer}>", numbered(f"<{closer} id={{}}><div>", count // 3) + f"</{closer}>" * (count // 3)
    yield "adoption", numbered("<b id={}>", 8) + "<div>" * (count // 2) + "</b>" * (count // 2)
    yield "lost formatting", "<p>" + numbered("<b id={}>", count // 2) + "</p>" + "<p>x" * (count // 2)
    yield "few lost", "<div>" + numbered("<b id={}>", 60) + "</div>" + "<p>x" * count
    yield "lost and closed", "<p>" + numbered("<b id={}>", count // 4) + "</p>" + "</i>" * count
    yield "options", "<select>" + "<option>x</option>" * (count // 2)
    yield "images of one picture", "<picture>" + "<source srcset='a 1x'><img>" * (count // 2)
    yield "foster parents", "<table>" * (count // 2) + "<img>" * (count // 2)
    yield "names", numbered("<x{0}></x{0}>", count // 2)
    yield "attribute names", numbered("<i x{}></i>", count // 2)
    yield "attributes of one", "<img " + numbered("a{} ", count) + ">"
    yield "quoted attributes of one", "<img " + numbered("a{}='>' ", count) + ">"
    yield "attributes of many", ("<i " + numbered("a{} ", 2_000) + ">") * max(count // 2_000, 1)
    yield "attributes of the root", ("<html " + numbered("a{} ", 2_000) + ">") * max(count // 2_000, 1)
    yield "roots", numbered("<html a{}=1>", count)
    yield "bases in foreign content", "<svg>" * (count // 2) + "<base href=a>" * (count // 2)
    for text in (
        "<",
        "<!--",
        "<!-",
        "</",
        "&",
        "&amp;",
        "<a ",
        "<a='",
        '="',
        "\0",
        "<![CDATA[",
        "<script>",
        "<textarea>",
    ):
        yield text, text * count
    for value in ("a, ", "a ", ",", "(", "a (", "loading_.-.", "/pixel-", "{", " ", "#"):
        for attribute in ("src", "srcset", "data-src", "alt"):
            yield f"{attribute}={value}", f"<img src=# {attribute}='{value * count}'>"


@pytest.mark.parametrize("count", [4_500, 40_000, pytest.param(195_000, marks=pytest.mark.slow)])
def test_no_page_takes_a_second_of_processor_time(count):
    slow = {}
    for shape, page in pages(count):
        taken = seconds(page)
        if taken > most() and (taken := seconds(page)) > most():  # a neighbour makes any code slow, but once
            slow[shape] = taken
    assert slow == {}


def most() -> float:
    """Seconds of a processor; twice as many where more runs than there are cores, which then share their caches."""
    return 1.0 if os.getloadavg()[0] <= (os.cpu_count() or 1) + 0.5 else 2.0


def seconds(page: str) -> float:
    before = process_time()
    with suppress(PageTooCostlyError):
        image_links(page[: 8 << 20] + "<img src=a.jpg alt=b>")
    return process_time() - before


@pytest.mark.parametrize(
    ("root", "unit"),
    [
        ("", "<optgroup>"),  # HTML standard, 13.2.6.4.7: nothing ends one outside of <select>
        ("", "<optgroup><option>"),
        ("", "<option><span>"),  # and an option ends only where it is the current node
        ("", "<dd><li>"),  # the search for what to end stops at special elements
        ("", "<li><noscript>"),
        ("<svg>", "<td></q>"),  # 13.2.6.5: SVG and MathML have neither void elements nor table parts
        ("<svg>", "<tr><option></q>"),
        ("<svg>", "<input></q>"),
        ("<svg>", "<object></q>"),
        ("<svg>", "<a></tbody>"),
        ("<math>", "<optgroup></q>"),
        ("", "<path></li>"),
    ],
)
def test_elements_that_nest_where_they_look_closed_are_refused(root, unit):
    assert too_costly(root + unit * 30_000)


def test_what_is_formatted_anew_in_each_row_of_a_table_is_refused():
    assert too_costly("<p>" + numbered("<b id={}>", 60) + "</p><table>" + "<tr>x" * 90_000)


def test_what_costs_the_square_of_its_length_is_refused_before_it_is_parsed():
    with pytest.raises(PageTooCostlyError):
        image_links("<div>" * 80_000 + "<img src=a>")


def test_many_pictures_that_nobody_closed_have_their_sources():
    links = image_links("<picture><source srcset=a.jpg><img alt=b>" * 8_000).links
    assert [link.reference for link in links] == ["a.jpg"] * 8_000


@pytest.mark.parametrize(
    "page",
    [
        "<div class='row'><a href='/x'><img src='a.jpg' alt='b'></a><p>text</p></div>" * 12_000,
        "<TABLE><TR><TD><FONT SIZE=2>text<TR><TD><FONT SIZE=2><A NAME=x>text</TABLE>" * 9_000,
        "<table>" + "<tr><td><font color=red>text<td><b>text" * 9_000 + "</table>",
        "<ul>" + "<li>text<img src=a.jpg>" * 20_000 + "</ul>",
        "<select>" + "<option value=1>text" * 20_000 + "</select>",
        "<p>text<br>" * 30_000,
        "<p><font size=2>text" * 8_000,
        "<a name=x>text " * 8_000,
        "<script>for(i=0;i<n;i++)if(a<b)</script>" * 4_000 + "<p>" * 6_000,
        "<my-card><span slot=a>text</span></my-card>" * 9_000,
        "<div>" * 200 + "<div><b>text</b></div>" * 20_000,
        "<svg><g><path d='M0 0'/><title>text</title></g></svg>" * 9_000,
        "<div>" * 1_500,
        numbered("<li><i class='fa fa-{}' /><a href>text</a></li>", 30) * 50,
        numbered("<p><font color='#{}'>text <a href=x>y</a>", 40) * 100,
        "<svg>" + "<a href=x><path d='M0 0'/></a>" * 4_000 + "</svg>",
    ],
    ids=lambda page: page[:20],
)
def test_pages_that_people_write_are_parsed(page):
    assert not too_costly(page)


def test_real_pages_are_parsed(shared_data):
    from tests.unit.sources.test_real_files import WARCS, naive_records

    read = 0
    for path in WARCS:
        for _, payload in naive_records(shared_data / path):
            read += 1
            assert not too_costly(payload.decode("utf-8", "replace"))
    assert read > 1_000


def test_any_tags_have_a_cost_that_bounds_what_parsing_takes():
    names = [
        *(
            "div",
            "span",
            "p",
            "b",
            "i",
            "a",
            "font",
            "table",
            "tr",
            "td",
            "tbody",
            "li",
            "dd",
            "option",
            "select",
            "rt",
        ),
        *("select", "svg", "g", "desc", "math", "mi", "object", "template", "html", "body", "script", "iframe"),
    ]
    forms = ["<%s>", "<%s>", "<%s id=@>", "</%s>", "x<%s/>"]
    random = Random(5)
    for _ in range(60):
        units = ["".join(random.choice(forms) % random.choice(names) for _ in range(4)) for _ in range(3)]
        page = "".join(unit.replace("@", str(i)) for unit in units for i in range(random.choice([1, 100, 900, 3_000])))
        before = process_time()
        with suppress(PageTooCostlyError):
            image_links(page + "<img src=a>")
        assert process_time() - before < 1, units
