"""What the page shows of pairs that were dropped, and of those on both sides of the threshold."""

from collections.abc import Sequence

from laion_assets.common.quantities import figure, percent
from laion_assets.report.blocks import (
    Block,
    Columns,
    Heading,
    Note,
    Sheet,
    Table,
    foreign,
    name,
    number,
    ratio,
    share,
    table_of,
)
from laion_assets.report.material import Material, Row, needing
from laion_assets.tables.catalogue import FUNNEL
from laion_assets.text.language import LANGUAGE_GROUPS

_MEANINGS = {
    "no_alt": "The link has no alt text.",
    "too_short": "The text has too few characters.",
    "too_long": "The text has too many characters.",
    "data_url": "The picture is inside the page.",
    "no_url": "The link leads nowhere.",
    "not_http": "The address is neither http nor https.",
    "template": "The address holds a template's variable that was never filled in.",
    "bad_url": "The address cannot be understood.",
    "page_itself": "The address is that of the page.",
    "url_too_long": "The address is too long.",
    "tracking_pixel": "The link looks like a tracking pixel.",
    "opted_out_x_robots_page": "A page that shows the picture forbids learning from it (X-Robots-Tag).",
    "opted_out_tdm_header_page": "A page that shows the picture reserves mining it (tdm-reservation, a header).",
    "opted_out_content_usage_page": "A page that shows the picture forbids learning from it (Content-Usage).",
    "opted_out_meta_robots": "A page that shows the picture forbids learning from it (meta element robots).",
    "opted_out_tdm_meta": "A page that shows the picture reserves mining it (tdm-reservation, a meta element).",
    "duplicate": "The crawl holds the same url and text more than once.",
    "seen_in_earlier_crawl": "An earlier crawl holds the same url and text.",
    "hash_collision": "Another pair has the same pair_id.",
    "image_missing": "The picture was never attempted.",
    "image_failed": "The picture could not be downloaded.",
    "undecodable": "The encoder could not read the picture.",
    "not_embedded": "There is no similarity.",
    "file_name": "The text is a file name, a number or a digest.",
    "markup": "The text holds markup.",
    "too_few_bytes": "The picture has too few bytes.",
    "too_small": "The picture is too small.",
    "aspect": "The picture is too wide or too tall.",
    "below_threshold_en": "The similarity is below the threshold for English.",
    "below_threshold_multi": "The similarity is below the threshold for other languages.",
    "below_threshold_nolang": "The similarity is below the threshold for texts without a clear language.",
    "dns": "The host has no address.",
    "connect": "No connection.",
    "timeout": "The server was too slow.",
    "protocol": "The server's answer was malformed, or not the whole.",
    "http_4xx": "The server says the picture is not there, or not for us.",
    "http_5xx": "The server failed.",
    "not_an_image": "What came is no picture.",
    "decode": "The picture is broken, or in a format that is not supported.",
    "too_large": "The picture has too many bytes or pixels.",
    "too_costly": "Decoding the picture would take too much memory or time.",
    "opted_out": "The site does not want its pictures used (X-Robots-Tag).",
    "blocked_address": "The address is outside the public internet, or not of the web.",
    "hash_mismatch": "The picture is not the one that the list promised: its digest is another.",
    "hash_listed": "The picture or its url is on a list of hashes to remove.",
    "deny_listed": "The url or its domain is on a deny list or in a takedown.",
    "other": "Anything else.",
}


def dropped(lake: Material) -> Sequence[Block]:
    """Why rows went no further, stage by stage, with examples."""
    lack = lake.lack("candidate_pairs", "drop_reasons")
    if lack is not None:
        return [lack, *_failures(lake), *_examples(lake, list(lake.pairs.dropped))]
    rows = lake.rows("""
        SELECT stage, reason, sum("rows")::BIGINT AS n, sum(sum("rows")) OVER (PARTITION BY stage)::BIGINT AS whole
        FROM drop_reasons GROUP BY stage, reason ORDER BY n DESC, reason""")
    blocks: list[Block] = []
    for stage, step in FUNNEL.items():
        of_stage = [row for row in rows if row["stage"] == stage]
        reasons = [row for row in of_stage if row["reason"] != "kept"]
        if not of_stage:
            continue
        blocks += [Heading(name=stage, text=step.work), _reasons(reasons, of_stage[0]["whole"], step.takes)]
        if stage == "images":
            blocks += _failures(lake)
        elif stage == "filtered_pairs":
            blocks += _examples(lake, [row["reason"] for row in reasons])
    return blocks


def _reasons(rows: Sequence[Row], whole: int, unit: str) -> Block:
    if not rows:
        return Note(text=f"Nothing was dropped of {figure(whole)} {unit}.")
    gone, most = sum(row["n"] for row in rows), rows[0]["n"]
    columns: Columns = {
        "reason": lambda row: name(row["reason"], note=_MEANINGS.get(row["reason"], "")),
        unit: lambda row: number(row["n"], bar=row["n"] / most),
        "share": lambda row: share(ratio(row["n"], whole)),
    }
    title = f"{figure(gone)} of {figure(whole)} {unit} went no further ({percent(ratio(gone, whole))})"
    return table_of(title, rows, columns)


def _failures(lake: Material) -> list[Block]:
    lines = []
    for failure, found in lake.failures.items():
        for one in found:
            status = f"HTTP {one.http_status}" if one.http_status else ""
            came = one.detail if status[5:] in one.detail else f"{status}: {one.detail}"
            lines.append([name(failure), foreign(one.url, note=came)])
    return [Table(title="Some of these urls", headings=["failure", "url"], rows=lines)] if lines else []


def _examples(lake: Material, reasons: Sequence[str]) -> list[Block]:
    return [
        Sheet(reason=reason, title="for example", cards=lake.pairs.dropped[reason], note=_MEANINGS.get(reason, ""))
        for reason in reasons
        if lake.pairs.dropped.get(reason)
    ]


@needing("filtered_pairs")
def contact_sheets(lake: Material) -> Sequence[Block]:
    """Released pairs and their neighbours across the threshold, by language group."""
    sheets = (
        ("Released", lake.pairs.kept, "Picked evenly over all released pairs."),
        ("Just above the threshold", lake.pairs.above, "Released pairs that lie nearest to the threshold."),
        ("Just below the threshold", lake.pairs.below, "Pairs that the threshold kept out, the nearest first."),
    )
    blocks: list[Block] = []
    for group, meaning in LANGUAGE_GROUPS.items():
        found = [Sheet(title=title, cards=cards[group], note=note) for title, cards, note in sheets if cards.get(group)]
        if found:
            blocks += [Heading(name=group, text=meaning), *found]
        if len(found) == 1:
            blocks.append(Note(text="The policy asks for no similarity, so there is no threshold to look around."))
    return blocks
