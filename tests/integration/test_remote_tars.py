"""Tars in a bucket, read through a real S3 server: found, described, extracted, and copied picture by picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from laion_assets.sources.lists.find import find_files
from laion_assets.sources.lists.streams import Files
from laion_assets.sources.sources import open_source
from laion_assets.sources.tars.folder import ENDING, ForeignTars
from tests.unit.download.test_copied import BUCKETS, ENTERED, Import, picture, sample, url

pytestmark = pytest.mark.integration


@pytest.fixture
def client() -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip
    client.create_bucket(Bucket="them")
    yield client
    server.stop()


def test_tars_of_a_bucket_are_imported_as_those_of_a_folder_are(client: Any, tmp_path: Path) -> None:
    imported = Import(tmp_path)
    for tar in range(2):
        imported.write(f"{tar:05d}.tar", *(sample(number) for number in range(tar * 6, tar * 6 + 6)), modified=None)
    (imported.folder / "00001_stats.json").write_text('{"end_time": 1600000000.0}')
    for file in imported.folder.iterdir():
        client.put_object(Bucket="them", Key=f"some/{file.name}", Body=file.read_bytes())
    here = imported.pairs()

    found = find_files(["s3://them/some/"], s3_client=lambda: client, wanted=lambda name: name.endswith(ENDING))
    assert found == ["s3://them/some/00000.tar", "s3://them/some/00001.tar"]
    imported.tars = ForeignTars(Files(lambda uri: open_source(uri, s3_client=client)), ENTERED)
    pairs = imported.pairs(found)
    assert pairs.drop("path").equals(here.drop("path"))
    stored = {}
    for bucket in range(BUCKETS):
        rows = imported.copy(pairs.filter(bucket=bucket), f"bucket-{bucket}")
        stored |= imported.stored(rows)
        times = rows.group_by(at=rows["fetched_at"].dt.year()).agg("url").sort("at").rows()
        assert {year for year, _ in times} <= {2020, ENTERED.year}
    assert stored == {url(number): picture(number) for number in range(12)}
