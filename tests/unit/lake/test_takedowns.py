"""Removal requests: none is lost, whoever enters them."""

import polars as pl
import pytest
from deltalake import write_deltalake

from laion_assets.lake.errors import LakeError, UpstreamNotValidated
from laion_assets.lake.lake import Lake
from laion_assets.lake.takedowns import request_takedown
from laion_assets.sql import connect


def requests(lake: Lake) -> list[tuple[str, str, str | None]]:
    return connect(lake).sql("SELECT kind, value, reason FROM takedowns ORDER BY ALL").fetchall()


def test_requests_of_one_kind_are_kept_beside_one_another(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", "asked")
    request_takedown(lake, "domain", "b.example", None)
    request_takedown(lake, "url", "http://c.example/x.jpg", None)
    assert requests(lake) == [
        ("domain", "a.example", "asked"),
        ("domain", "b.example", None),
        ("url", "http://c.example/x.jpg", None),
    ]


def test_the_same_request_again_is_one_request(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    request_takedown(lake, "domain", "a.example", "now with a reason")
    assert requests(lake) == [("domain", "a.example", "now with a reason")]


def test_an_unknown_kind_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="url, domain, sha256, pair_id"):
        request_takedown(lake, "phone", "12345", None)
    assert requests(lake) == []


def test_a_request_that_another_tool_wrote_is_not_written_over(lake: Lake) -> None:
    request_takedown(lake, "domain", "a.example", None)
    written = pl.scan_delta(lake.path("takedowns")).collect().with_columns(value=pl.lit("b.example"))
    write_deltalake(lake.path("takedowns"), written.to_arrow(), mode="append")
    with pytest.raises(UpstreamNotValidated):
        request_takedown(lake, "domain", "c.example", None)
