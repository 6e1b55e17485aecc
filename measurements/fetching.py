"""What fetching costs: requests a processor second, ours against a former checkout's or img2dataset's own, in one run.

Files are served over loopback by a process of its own; processor time is that of the side that fetches.

    python measurements/fetching.py                        # against img2dataset's own fetch, 64 threads
    python measurements/fetching.py --earlier ../before    # against the checkout in that folder, the whole stage too
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

OURS = """
import sys, time
from laion_assets.download import DownloadOptions
from laion_assets.download.fetch import Fetcher
urls = sys.stdin.read().split()
begun = time.process_time()
fetcher = Fetcher(DownloadOptions(allowed_networks=("127.0.0.0/8",), connections_per_host=64))
good = sum(outcome.failure is None for _, outcome in fetcher.fetch_all((url, url) for url in urls))
fetcher.close()
print(good, time.process_time() - begun)
"""
THREADED = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from laion_assets.download import DownloadOptions
from laion_assets.download.fetch import Fetcher
urls = sys.stdin.read().split()
begun = time.process_time()
fetcher = Fetcher(DownloadOptions(allow_private_addresses=True, connections_per_host=64))
with ThreadPoolExecutor(64) as pool:
    good = sum(outcome.failure is None for outcome in pool.map(fetcher.fetch, urls))
fetcher.close()
print(good, time.process_time() - begun)
"""
IMG2DATASET = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from img2dataset.downloader import download_image
urls = sys.stdin.read().split()
begun = time.process_time()
with ThreadPoolExecutor(64) as pool:
    found = pool.map(lambda url: download_image((0, url), 10, None, None), urls)
    good = sum(image is not None for _, image, _ in found)
print(good, time.process_time() - begun)
"""
STAGE = """
import os, resource, sys, tempfile
import polars as pl
from laion_assets.download import DownloadOptions
from laion_assets.download.driver import download
from laion_assets.download.pool import shut_down, warm_up
urls = pl.DataFrame({"url": sys.stdin.read().split()}).with_row_index("url_id").cast({"url_id": pl.Int64})
try:
    options = DownloadOptions(allowed_networks=("127.0.0.0/8",), connections_per_host=64, processes=1)
except TypeError:
    options = DownloadOptions(allow_private_addresses=True, connections_per_host=64, processes=1)
def spent():
    shut_down()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
with tempfile.TemporaryDirectory() as folder:
    list(download(urls.head(1), output=folder + "/one/t", options=options))
    imports = spent()
    frames = list(download(urls, output=folder + "/all/t", options=options))
    whole = spent() - 2 * imports
print(sum(frame.filter(status="success").height for frame in frames), whole)
"""


def serve(body: bytes, port: Connection) -> None:
    """Answer every request with the same picture, until the other end is closed."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(port.poll, None)
        os._exit(0)

    asyncio.run(run())


def picture(size: int) -> bytes:
    """A JPEG of noise, of about so many bytes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    side = 16
    while True:
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(file, "JPEG", quality=90)
        if file.tell() >= size:
            return file.getvalue()
        side += 4


def measure(code: str, urls: list[str], folder: Path) -> dict[str, float]:
    """Run one arm in a process of its own, against the package in ``folder``."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [sys.executable, "-c", code],
            input="\n".join(urls),
            capture_output=True,
            text=True,
            check=True,
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": str(folder), "NO_ALBUMENTATIONS_UPDATE": "1"},
        )
    good, seconds = done.stdout.split()[-2:]
    if int(good) != len(urls):
        raise SystemExit(f"only {good} of {len(urls)} urls were fetched")
    return {"requests": len(urls), "processor_seconds": float(seconds), "a_second": len(urls) / float(seconds)}


def main(report: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4_000)
    parser.add_argument("--bytes", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3, help="all arms in each; of an arm the cheapest counts")
    parser.add_argument("--earlier", type=Path, help="a checkout whose fetch has threads")
    arguments = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(picture(arguments.bytes), theirs))
    server.start()
    port = ours.recv()
    urls = [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(arguments.files)]
    arms = {"now, fetch": (OURS, HERE), "now, whole stage": (STAGE, HERE)}
    if arguments.earlier is None:
        arms["img2dataset's fetch"] = (IMG2DATASET, HERE)
    else:
        arms |= {"before, fetch": (THREADED, arguments.earlier), "before, whole stage": (STAGE, arguments.earlier)}
    try:
        rounds = [
            {name: measure(code, urls, folder.resolve()) for name, (code, folder) in arms.items()}
            for _ in range(arguments.rounds)
        ]
        for name in arms:
            cheapest = min((one[name] for one in rounds), key=lambda found: found["processor_seconds"])
            report(f"{name:20} {cheapest['a_second']:8,.0f} requests a processor second")
        report(json.dumps(rounds))
    finally:
        ours.close()
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
