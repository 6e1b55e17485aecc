import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from PIL import Image

from laion_assets.consent.removals import load_removals
from laion_assets.download import DownloadOptions, Failure
from laion_assets.download.driver import DownloadError, download, result_schema
from laion_assets.download.pool import shut_down
from laion_assets.images.perceptual_hash import perceptual_hash
from tests.unit.download.loopback_web import picture
from tests.unit.images.files import bmp, corners, saved, scans, tiff
from tests.unit.images.png_decoder import claim, encode_png

OPTIONS = DownloadOptions(
    allowed_networks=("127.0.0.0/8", "::1/128"),
    processes=2,
    threads=8,
    timeout_seconds=60,
    deadline_seconds=60,
    retry_delay_seconds=0,
    image_size=64,
    urls_per_tar=20,
)


@pytest.fixture(scope="module", autouse=True)
def _hosts_end_with_the_tests():
    yield
    shut_down()


def table(urls):
    return pl.DataFrame(
        {"url_id": range(100, 100 + len(urls)), "url": urls}, schema={"url_id": pl.Int64, "url": pl.String}
    )


def fetch(urls, output, *, options=OPTIONS, **more):
    frames = list(download(table(urls), output=output, options=options, **more))
    return pl.concat(frames).sort("url_id") if frames else pl.DataFrame(schema=result_schema())


def pictures(web, count):
    return [web.serve(f"/{n}.jpg", picture(40 + n, 30, seed=n)) for n in range(count)]


def test_every_url_gets_one_row_and_every_picture_one_sample(web, tmp_path):
    urls = pictures(web, 50)
    urls[7], urls[9] = web.url("/missing.jpg"), web.serve("/broken.jpg", picture()[:500])
    urls[11] = web.serve("/wide.png", picture(200, 100, format="PNG"), ("Content-Type", "image/png"))
    counted = []
    rows = fetch([*urls, *urls[:3]][: len(urls)], tmp_path / "images", progress=counted.append)
    assert rows.schema == result_schema()
    assert rows["url"].to_list() == urls
    assert sum(counted) == 50
    failed = rows.filter(status="failed").select("url", "failure", "http_status", "shard_path", "sample_key")
    assert failed.rows() == [(urls[7], "http_4xx", 404, None, None), (urls[9], "decode", 200, None, None)]
    wide = rows.row(11, named=True)
    assert (wide["original_width"], wide["original_height"], wide["width"], wide["height"]) == (200, 100, 64, 32)
    assert wide["content_type"] == "image/png"
    stored = {}
    for shard in rows["shard_path"].drop_nulls().unique():
        with tarfile.open(tmp_path / shard) as tar:
            stored |= {(shard, m.name): tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")}
    assert set(stored) == {
        (r["shard_path"], f"{r['sample_key']}.jpg") for r in rows.filter(status="success").to_dicts()
    }
    row = rows.row(0, named=True)
    assert stored[row["shard_path"], f"{row['sample_key']}.jpg"] == picture(40, 30)
    assert Image.open(io.BytesIO(stored[wide["shard_path"], f"{wide['sample_key']}.jpg"])).size == (64, 32)
    assert not list((tmp_path / "images").glob(".work*"))


def test_repeated_urls_are_fetched_once_in_any_order(web, tmp_path):
    urls = table(pictures(web, 30))
    shuffled = pl.concat([urls, urls.head(5)]).sample(fraction=1, shuffle=True, seed=1)
    runs = [
        pl.concat(download(u, output=tmp_path / n / "t", options=OPTIONS)) for n, u in (("a", urls), ("b", shuffled))
    ]
    first, second = (run.sort("url_id").drop("fetched_at") for run in runs)
    assert first.equals(second)
    assert set(web.requests.values()) == {2}


def test_a_second_call_downloads_nothing_but_gives_the_same_rows(web, tmp_path):
    urls = pictures(web, 30)
    counted = []
    first = fetch(urls, tmp_path / "t")
    again = fetch(urls, tmp_path / "t", progress=counted.append)
    assert again.equals(first)
    assert sum(counted) == 30
    assert web.requests.total() == 30
    fetch(urls, tmp_path / "t", options=replace(OPTIONS, image_size=32))
    assert web.requests.total() == 60


def test_no_urls_give_no_frames(tmp_path):
    assert list(download(table([]), output=tmp_path / "t", options=OPTIONS)) == []


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match="url_id"):
        download(pl.DataFrame({"url": ["http://example.org/"]}), output=tmp_path)


def test_private_addresses_are_refused_by_default(web, tmp_path):
    rows = fetch(pictures(web, 3), tmp_path / "t", options=replace(OPTIONS, allowed_networks=()))
    assert rows["failure"].to_list() == ["blocked_address"] * 3
    assert rows["attempts"].to_list() == [1] * 3
    assert web.connections == 0


@pytest.mark.parametrize("as_file", [True, False])
def test_removals_reach_the_workers(web, tmp_path, as_file):
    urls = pictures(web, 4)
    (tmp_path / "hashes").write_text(f"{__import__('hashlib').sha1(picture(41, 30, seed=1)).hexdigest()}\n")
    takedowns = pl.DataFrame({"kind": ["url"], "value": [urls[0]]})
    removals = load_removals(takedowns, hash_lists=(str(tmp_path / "hashes"),))
    removals.write(tmp_path / "removals.parquet")
    given = tmp_path / "removals.parquet" if as_file else removals.matcher()
    rows = fetch(urls, tmp_path / "t", removals=given)
    assert rows["failure"].to_list() == ["deny_listed", "hash_listed", None, None]
    assert web.requests["/0.jpg"] == 0
    requests = web.requests.total()
    fetch(urls, tmp_path / "t", removals=given)
    assert web.requests.total() == requests
    assert fetch(urls, tmp_path / "t")["failure"].to_list() == [None] * 4


def workers():
    return [p for host in psutil.Process().children() for p in host.children()]


def test_a_worker_that_dies_is_an_error_that_names_its_tar(web, tmp_path):
    def kill_the_asker(handler):
        os.kill(workers()[0].pid, signal.SIGKILL)
        handler.server.web.over.wait(30)

    web.routes["/0.jpg"] = kill_the_asker
    with pytest.raises(DownloadError, match=r"00000\.tar was killed by signal 9"):
        fetch([web.url("/0.jpg")], tmp_path / "t")
    assert workers() == []
    web.serve("/0.jpg", picture())
    assert fetch([web.url("/0.jpg")], tmp_path / "t")["status"].to_list() == ["success"]


def test_a_folder_that_cannot_be_written_is_an_error(web, tmp_path):
    urls = pictures(web, 1)
    (tmp_path / "t" / "00000.tar").mkdir(parents=True)
    with pytest.raises(DownloadError, match=r"00000\.tar failed(.|\n)*IsADirectoryError"):
        fetch(urls, tmp_path / "t")


def test_two_downloads_do_not_share_a_folder(web, tmp_path, monkeypatch):
    monkeypatch.setattr("laion_assets.download.driver._LOCK_SECONDS", 0.1)
    first = download(table(pictures(web, 30)), output=tmp_path / "t", options=OPTIONS)
    next(first)
    with pytest.raises(DownloadError, match="another download"):
        fetch(pictures(web, 1), tmp_path / "t")
    first.close()
    assert workers() == []
    assert fetch(pictures(web, 1), tmp_path / "t").height == 1


def test_a_url_that_img2dataset_loses_is_counted(web, tmp_path):
    """What its writer raises, img2dataset prints and forgets."""
    from laion_assets.download import worker

    notes = worker._Notes(worker_task(tmp_path), lambda: None)
    notes.lost("http://example.org/a.jpg", ValueError("what a writer raises"))
    notes.account_for({"url_id": 1, "url": "http://example.org/a.jpg"})
    assert notes.rows[0]["failure"] == Failure.OTHER
    assert "what a writer raises" in notes.rows[0]["failure_detail"]
    assert (notes.rows[0]["width"], notes.rows[0]["shard_path"], notes.rows[0]["attempts"]) == (None, None, 0)


def worker_task(folder):
    from laion_assets.download.worker import TarTask

    names = ("tar", "rows", "shard_path", "request", "urls", "scratch")
    return TarTask(number=0, options=OPTIONS, **{name: str(folder / name) for name in names})


SCRIPT = """
import sys
import polars as pl
from laion_assets.download import DownloadOptions
from laion_assets.download.driver import download
urls = pl.DataFrame({"url_id": range(100, 160), "url": sys.argv[2:]}, schema={"url_id": pl.Int64, "url": pl.String})
options = DownloadOptions(allowed_networks=("127.0.0.0/8", "::1/128"), processes=2, threads=8, timeout_seconds=60,
                          deadline_seconds=60, retry_delay_seconds=0, image_size=64, urls_per_tar=20)
for frame in download(urls, output=sys.argv[1], options=options):
    print(frame.height, flush=True)
"""


@pytest.mark.integration
def test_killed_and_run_again_it_goes_on_where_it_was(web, tmp_path):
    """kill -9 of the whole program while its third tar hangs; its workers end too, and finished tars stay finished."""
    urls = pictures(web, 60)
    last = web.routes.pop("/50.jpg")
    reached = threading.Event()

    def hang(handler):
        reached.set()
        handler.server.web.over.wait(30)

    web.routes["/50.jpg"] = hang
    command = [sys.executable, "-", str(tmp_path / "t"), *urls]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    process.stdin.write(SCRIPT.encode())
    process.stdin.close()
    assert [process.stdout.readline(), process.stdout.readline()] == [b"20\n", b"20\n"]
    assert reached.wait(30)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
    assert sorted(p.name for p in (tmp_path / "t").glob("*.parquet")) == ["00000.parquet", "00001.parquet"]
    web.routes["/50.jpg"] = last
    web.requests.clear()
    rows = fetch(urls, tmp_path / "t")
    assert set(web.requests) == {f"/{n}.jpg" for n in range(40, 60)}
    assert rows.drop("fetched_at").equals(fetch(urls, tmp_path / "b" / "t").drop("fetched_at"))


def test_pictures_are_stored_as_they_are_seen_and_costly_ones_are_failures(web, tmp_path):
    upright = corners(48, 32)
    deep = np.linspace(0, 65535, 40 * 30).astype(np.uint16).reshape(30, 40, 1)
    turned = saved(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=b"Exif\0\0" + tiff(6))
    bodies = {
        "deep.png": encode_png(deep),
        "turned.jpg": turned,
        "clear.png": saved(Image.new("RGBA", (40, 30), (0, 0, 0, 0)), "PNG"),
        "reserved.bmp": bmp(bytes((10, 20, 200, 0)) * 4, reserved=7),
        "scans.jpg": scans(101),
        "memory.png": claim(6, 16, side=9_000),
        "after.jpg": picture(40, 30),
    }
    rows = fetch([web.serve(f"/{name}", body) for name, body in bodies.items()], tmp_path / "t")
    failed = rows.filter(status="failed").select("failure", "failure_detail")
    assert failed.rows() == [
        ("too_costly", "too costly: a JPEG of 101 scans, over 100"),
        ("too_costly", "too costly: decoding takes 1296 MB, over 750 MB"),
    ]
    assert rows["sha256"].to_list() == [sha256(body).hexdigest() for body in bodies.values()]
    assert rows["exif"].to_list()[:2] == [None, '{"Orientation": "6"}']
    stored = {}
    for row in rows.filter(status="success").iter_rows(named=True):
        with tarfile.open(tmp_path / row["shard_path"]) as tar:
            content = tar.extractfile(f"{row['sample_key']}.jpg").read()
        stored[row["url"].rpartition("/")[2]] = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)
        size = stored[row["url"].rpartition("/")[2]].shape[1::-1]
        assert (row["width"], row["height"]) == (row["original_width"], row["original_height"]) == size
        assert perceptual_hash(content) == row["perceptual_hash"]
        assert b"GPS" not in content
    assert np.abs(stored["deep.png"][..., 0] - (deep[..., 0] >> 8)).mean() < 1
    assert np.abs(stored["turned.jpg"] - np.asarray(upright, int)).mean() < 10
    assert (stored["clear.png"] == 255).all()
    assert np.abs(stored["reserved.bmp"] - (200, 20, 10)).max() < 8


def test_a_picture_that_is_not_the_promised_one_is_no_success(web, tmp_path):
    bodies = [picture(40 + n, 30, seed=n) for n in range(4)]
    urls = [web.serve(f"/{n}.jpg", body) for n, body in enumerate(bodies)]
    md5 = [hashlib.md5(body).hexdigest() for body in bodies]
    sha256 = [hashlib.sha256(body).hexdigest() for body in bodies]
    wrong = "0" * 32
    promised = pl.Series("expected", [f"{md5[0]} {wrong}", sha256[1], wrong, None])
    frames = list(download(table(urls).with_columns(promised), output=tmp_path / "t", options=OPTIONS))
    rows = pl.concat(frames).sort("url_id")
    assert rows["failure"].to_list() == [None, None, "hash_mismatch", None]
    assert rows["expected"].to_list() == promised.to_list()
    assert rows["sha256"].to_list() == sha256
    assert rows["failure_detail"][2] == f"SHA-256 {sha256[2]}, and {wrong} was expected"
    assert rows["shard_path"].is_null().to_list() == [False, False, True, False]
    again = list(download(table(urls), output=tmp_path / "t", options=OPTIONS))
    assert pl.concat(again)["status"].to_list() == ["success"] * 4, "without a promise they are asked for anew"
