"""Patterns that describe alt texts which say nothing about their picture.

Each constant is a regular expression inside the common subset of RE2 (DuckDB's ``regexp_matches``) and Rust's regex
crate (polars' ``str.contains``): no look-around, no back-references, case folding by an inline flag. Both engines
search anywhere in the text, so a pattern that must cover the whole text carries its own anchors. Which policy uses
which pattern is decided in ``pairs``.
"""

FILE_NAME_PATTERN = (
    r"(?i)^\s*(?:"
    # a name with a picture's extension, with or without folders before it: photo-1.jpg, images/photo 1.jpeg
    r"[^\n]{1,200}\.(?:jpe?g|jpe|jfif|png|gif|webp|bmp|svg|tiff?|avif|heic|ico)"
    # what cameras and phones call their pictures: IMG_1234, DSC01234, P1010023, 20190801_101500, image-3,
    # Screenshot_2020
    r"|(?:img|dsc[nf]?|dscf|pict?|mvi|wp|pxl|photo|image|picture|screenshot|scan|untitled|unnamed)[\s_-]*[0-9(][0-9\s_().-]*(?:[a-z]{1,2})?"
    r"|p[0-9]{6,8}"
    r"|[0-9]{8}[_-][0-9]{4,9}"
    # identifiers without a word in them: hexadecimal digests and bare numbers
    r"|[0-9a-f]{16,64}"
    r"|[0-9][0-9\s_x.-]*"
    r")\s*$"
)
"""The whole text is a file name, a camera's running number, a digest or a bare number."""

MARKUP_PATTERN = (
    r"(?i)(?:"
    r"</?[a-z][a-z0-9:-]*(?:\s[^<>]*)?/?>"  # <b>, </div>, <img src=…>
    r"|<!--"
    r"|&(?:[a-z][a-z0-9]{1,30}|#[0-9]{1,7}|#x[0-9a-f]{1,6});"  # &quot; &#039; left over after one decoding
    r"|\[/?(?:b|i|u|img|url|quote|caption|gallery|color|size|center)(?:[\s=][^\[\]]*)?\]"
    r"|\{\{|\}\}|\$\{|<%|%>"  # templates that were never filled in
    r")"
)
"""The text holds HTML, bulletin board markup, an entity that decoding left over, or an unfilled template."""
