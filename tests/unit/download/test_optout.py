import pytest

from laion_assets.download.optout import opted_out


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (["all"], None),
        (["nofollow, noarchive"], None),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["nofollow, noindex"], "noindex"),
        (["nofollow", "noimageindex"], "noimageindex"),
        (["none"], "none"),
        (["otherbot: noindex"], None),
        (["otherbot: nofollow, noindex"], None),
        (["LAION-lakehouse: noai"], "noai"),
        (["otherbot: noindex", "laion-lakehouse: noindex"], "noindex"),
        (["otherbot: noindex, laion-lakehouse: noai"], "noai"),
        (["*: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["max-image-preview: none"], None),
        ([":::,,:"], None),
    ],
)
def test_opt_outs(headers, expected):
    assert opted_out(headers, "laion-lakehouse") == expected
