"""What ``laion doctor`` asks of this machine, its settings, its lake and its Dagster home."""

import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from laion_assets.cli.common import settings_of
from laion_assets.cli.crawls import listed_crawls
from laion_assets.cli.doctor.encoder import EncoderCheck
from laion_assets.cli.doctor.findings import Check, Finding, Level, fail, ok, warn
from laion_assets.common.messages import SETTINGS as ALERT_SETTINGS
from laion_assets.common.messages import receivers
from laion_assets.common.quantities import measured_bytes
from laion_assets.common.shipped import PACKAGE, shipped
from laion_assets.delta.errors import LakeError
from laion_assets.delta.faults import damaged
from laion_assets.delta.location import open_storage
from laion_assets.delta.logs import LogDamaged, table_folders
from laion_assets.delta.verify import Snapshot
from laion_assets.lake.opening import damaged_lake_at, recorded_shape
from laion_assets.setting_names import unknown_names
from laion_assets.settings import Settings, SettingsError
from laion_assets.sources.address import shown

if TYPE_CHECKING:
    import dagster as dg

_PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
_LITTLE_BYTES, _TOO_FEW_BYTES = 20_000_000_000, 1_000_000_000
_LOOKING_SECONDS = 30.0
_SKEW_NOTICED, _SKEW_REFUSED = 60.0, 300.0
"""Seconds; S3 refuses signatures that are older than 15 minutes, and other clocks are off too."""


def checks(lake: str | None, source: str | None, *, quick: bool) -> Iterator[Check]:
    """Every check in order. Those that need settings are left out where the settings are wrong."""
    yield Check("python", _python)
    yield Check("packages", _packages)
    try:
        settings = settings_of(lake, source)
    except (SettingsError, ValueError) as error:
        faults = str(error).removeprefix("wrong settings: ").split("; ")
        found = [fail("settings", fault, "correct it, or take it out of the environment") for fault in faults]
        yield Check("settings", lambda: [*found, *_unknown_variables()])
        yield Check("the rest", lambda: [fail("the rest", "was not looked at", "correct the settings first")])
        return
    except LakeError as error:  # what settings the lake has is not known either
        lost = str(error)
        yield Check("lake", lambda: [fail("lake", lost)])
        yield Check("the rest", lambda: [fail("the rest", "was not looked at", "mend the lake first")])
        return
    encoder = None if quick else EncoderCheck(list(dict.fromkeys(settings.encoders.values())))
    asked = _Asked(settings)
    yield Check("settings", asked.settings_read)
    yield Check("lake", asked.lake, 30)
    yield Check("lake", asked.tables, 2 * _LOOKING_SECONDS)
    yield Check("writing", asked.conditional_put, 30)
    yield Check("disk", asked.disk)
    yield Check("source", asked.source, 45)
    yield Check("clock", asked.clock)
    yield Check("models", asked.models, 60)
    yield Check("recipes", asked.recipes)
    yield Check("dagster", asked.dagster, 30)
    yield Check("daemon", asked.daemon)
    yield Check("pools", asked.pools, 60)
    yield Check("alerts", asked.alerts)
    yield Check("memory", _allocator)
    if encoder is not None:
        yield Check("encoder", encoder.findings, encoder.seconds + 5)


def _instance() -> "dg.DagsterInstance | None":
    """Dagster's instance, where there is one: a look makes none, but where somebody named its home."""
    from laion_assets.orchestration.runs.home import dagster_instance, existing_instance

    return dagster_instance() if "DAGSTER_HOME" in os.environ else existing_instance()


def _python() -> Iterator[Finding]:
    found = sys.version_info[:2]
    text = f"Python {sys.version.split()[0]}"
    if found in _PYTHONS:
        yield ok("python", text)
    else:
        supported = " or ".join(f"{major}.{minor}" for major, minor in _PYTHONS)
        yield fail("python", text, f"use Python {supported}: no other was tried")


def _packages() -> Iterator[Finding]:
    file = shipped("constraints.txt")
    if not file.is_file():
        yield ok("packages", "not compared: there is no constraints.txt")
        return
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", file.read_text(), re.MULTILINE))
    installed = {_normal(d.name): d.version for d in metadata.distributions() if d.name}
    needed = {_normal(name) for name in _required()}
    missing = sorted(needed - set(installed))
    other = [
        f"{name} {installed[_normal(name)]} (tested with {pin})"
        for name, pin in sorted(pins.items())
        if _normal(name) in installed and installed[_normal(name)] != pin
    ]
    repair = f"pip install --constraint {file} {'--editable .' if file.parent == PACKAGE.parent else 'laion-lakehouse'}"
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", repair)
    if other:
        more = f" and {len(other) - 5} more" if len(other) > 5 else ""
        yield warn("packages", f"other versions than were tested: {', '.join(other[:5])}{more}", repair)
    if not missing and not other:
        yield ok("packages", f"{len(needed)} needed, all as in constraints.txt")


def _required() -> Iterator[str]:
    """Names of the packages that ours cannot do without."""
    try:
        lines = metadata.requires("laion-lakehouse") or []
    except metadata.PackageNotFoundError:
        lines = []
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _unknown_variables() -> Iterator[Finding]:
    for said in unknown_names(os.environ, Settings)[1]:
        yield warn("settings", said, "correct its name, or take it away")


def _allocator() -> Iterator[Finding]:
    from laion_assets.clip.cpu import CPU_ENVIRONMENT, prepare_cpu

    if os.environ.get("MALLOC_MMAP_THRESHOLD_") or "malloc" in os.environ.get("LD_PRELOAD", ""):
        yield ok("memory", "the environment tells the allocator to keep what torch frees")
    elif prepare_cpu():
        yield ok("memory", "steps tell the allocator to keep what torch frees")
    else:
        settings = " ".join(f"{name}={value}" for name, value in CPU_ENVIRONMENT.items())
        yield warn("memory", "the allocator of this C library cannot be told to keep what torch frees",
            f"preload jemalloc, or on glibc set {settings}: page faults can cost more than the arithmetic",
        )  # fmt: skip


@dataclass
class _Asked:
    """The checks that need settings."""

    settings: Settings

    def settings_read(self) -> Iterator[Finding]:
        settings = self.settings
        yield ok("settings", f"LAION_LAKE={settings.lake} LAION_SOURCE={shown(settings.source)}")
        yield from _unknown_variables()
        if settings.source.startswith(("s3://", "http")) and not settings.download.contact:
            yield warn("settings", "nobody can reach whoever runs these downloads",
                "set LAION_DOWNLOAD__CONTACT to an e-mail address or page; it goes into the User-Agent header",
            )  # fmt: skip

    def lake(self) -> Iterator[Finding]:
        shape = recorded_shape(self.settings.lake)
        storage = open_storage(self.settings.lake)
        if shape is None:
            yield ok("lake", f"none yet at {storage.uri}: `laion build` makes it")
            return
        opened = self.settings.open_lake(create=False)
        crawls = len(opened.ledger("crawl_snapshots").periods)
        shards, buckets = shape
        yield ok("lake", f"{storage.uri}: {crawls} crawls, {shards} shards, {buckets} buckets")

    def tables(self) -> Iterator[Finding]:
        """Whether logs can be read and data files are there; what is in them `laion verify` reads."""
        if recorded_shape(self.settings.lake) is None:
            return
        lake = damaged_lake_at(self.settings.lake, self.settings.shards, self.settings.buckets)
        give_up = time.monotonic() + _LOOKING_SECONDS
        for table in table_folders(lake.storage, lake.catalogue):
            try:
                files = Snapshot.of(lake, table).files
            except LogDamaged as error:
                yield fail("lake", str(error))
                continue
            there = {file.name: file.bytes for file in lake.storage.files(table)}
            for partition, sizes in files.items():
                for name in (name for name, size in sizes.items() if there.get(name) != size):
                    what = "has another size than was written" if name in there else "is gone"
                    fault = damaged(lake.catalogue, table, partition, name, f"the file {what}")
                    yield fail("lake", f"{fault.place} {fault.file}: {fault.what}", fault.cure)
            if time.monotonic() > give_up:
                return

    def alerts(self) -> Iterator[Finding]:
        told = [receiver.shown for receiver in receivers(self.settings.alerts)]
        if told:
            yield ok("alerts", f"{'; '.join(told)}: `laion alerts test` sends a trial message")
        else:
            yield ok("alerts", f"nobody is told of failures: set {ALERT_SETTINGS}")

    def conditional_put(self) -> Iterator[Finding]:
        """Two creations of one name: without the second being refused, two writers would lose one another's commits."""
        storage = open_storage(self.settings.lake)
        if storage.is_local and recorded_shape(self.settings.lake) is None:
            there = _nearest(Path(storage.uri))
            writable = os.access(there, os.W_OK | os.X_OK) and there.is_dir()
            advice = "" if writable else "choose another path for the lake, or let this user write there"
            yield Finding(
                "writing", "ok" if writable else "fail", f"{there} is {'' if writable else 'not '}writable", advice
            )
            return
        name = f".doctor-{uuid.uuid4().hex}"
        try:
            first, second = storage.create(name, b"first"), storage.create(name, b"second")
            kept = storage.read(name)
        finally:
            storage.delete([name])
        if first and not second and kept == b"first":
            yield ok("writing", "writable, and a file that is there is not written again")
        else:
            yield fail("writing", "a file that was there could be created again: two writers would lose commits",
                "use a file system with hard links, or an S3 store that honours If-None-Match",
            )  # fmt: skip

    def disk(self) -> Iterator[Finding]:
        scratch, temporary = open_storage(self.settings.lake).scratch, Path(tempfile.gettempdir())
        places = {place.stat().st_dev: place for place in map(_nearest, (temporary, scratch))}  # one line a disk
        for place in places.values():
            free = shutil.disk_usage(place).free
            level: Level = "fail" if free < _TOO_FEW_BYTES else "warn" if free < _LITTLE_BYTES else "ok"
            advice = "" if level == "ok" else "make room: rows and pictures wait there until they are published"
            yield Finding("disk", level, f"{measured_bytes(free)} free at {place}", advice)

    def source(self) -> Iterator[Finding]:
        uri, crawls = listed_crawls(self.settings)
        newest = max((crawl.crawl for crawl in crawls), default=None)
        if newest is None:
            yield fail("source", f"{uri} lists no crawl", "set LAION_SOURCE to a source that has some")
        else:
            yield ok("source", f"{uri}: {len(crawls)} crawls, the newest is {newest}")

    def clock(self) -> Iterator[Finding]:
        address = _clock_of(self.settings)
        if address is None:
            yield ok("clock", "nothing signs requests here: lake and source are on this machine")
            return
        skew = _skew(address)
        if skew is None:
            yield warn("clock", f"{address} does not say what time it is", "compare this machine's clock by hand")
            return
        level: Level = "fail" if abs(skew) > _SKEW_REFUSED else "warn" if abs(skew) > _SKEW_NOTICED else "ok"
        way = "ahead of" if skew > 0 else "behind"
        advice = (
            ""
            if level == "ok"
            else "set the clock (timedatectl set-ntp true): S3 refuses what is signed at another time"
        )
        yield Finding("clock", level, f"{abs(skew):.0f} s {way} {urlsplit(address).netloc}", advice)

    def models(self) -> Iterator[Finding]:
        from laion_assets.sql.project import open_project

        project = open_project(self.settings.models)
        if project.faults:
            yield from (fail("models", str(fault), "correct it: what is built on it waits") for fault in project.faults)
        else:
            yield ok("models", f"{len(project.enabled)} SQL models are sound")

    def recipes(self) -> Iterator[Finding]:
        faults = self.settings.recipe_faults
        if faults:
            yield from (fail("recipes", fault, "correct it: the others can be trained") for fault in faults)
        else:
            yield ok("recipes", f"{len(self.settings.known_recipes)} in {self.settings.recipes}")

    def dagster(self) -> Iterator[Finding]:
        given = "DAGSTER_HOME" in os.environ
        instance = _instance()
        if instance is None:
            yield ok("dagster", "no run was kept yet: the first build makes its home")
            return
        instance.get_runs(limit=1)
        instance.daemon_cursor_storage.set_cursor_values({"laion-doctor": datetime.now(UTC).isoformat()})
        storage = type(instance.event_log_storage).__name__.removesuffix("EventLogStorage")
        hint = "" if given else "; set DAGSTER_HOME to have the same one everywhere"
        yield ok("dagster", f"{os.environ['DAGSTER_HOME']} can be read and written ({storage}){hint}")

    def daemon(self) -> Iterator[Finding]:
        """Whether the daemon is alive, where a sensor or schedule that is on needs it."""
        from laion_assets.orchestration.dagster_internals import beating_daemons, running_instigators

        instance = _instance()
        if instance is None:
            return
        on = running_instigators(instance)
        if beating_daemons(instance):
            yield ok("daemon", f"alive; {_listed(on) or 'no sensor or schedule'} on")
        elif on:
            yield fail("daemon", f"not running, and {_listed(on)} on", "run `laion ui`, or `dagster-daemon run`")
        else:
            yield ok("daemon", "not running, and not needed: no sensor or schedule is on")

    def pools(self) -> Iterator[Finding]:
        """How many steps run at once in each pool, and which pools nothing limits."""
        import dagster as dg

        from laion_assets.orchestration.code_location import build_definitions

        instance = _instance()
        if instance is None:
            return
        job = build_definitions(self.settings).resolve_implicit_global_asset_job_def()
        used = sorted(
            {n.definition.pool for n in job.nodes if isinstance(n.definition, dg.OpDefinition) and n.definition.pool}
        )
        default = instance.get_concurrency_config().pool_config.default_pool_limit
        set_ = {limit.name: limit.limit for limit in instance.event_log_storage.get_pool_limits()}
        limits = {pool: set_.get(pool, default) for pool in used}
        for pool in (pool for pool, limit in limits.items() if limit is None):
            yield warn("pools", f"nothing limits how many steps run at once in pool {pool}",
                f"`dagster instance concurrency set {pool} 1`, or default_limit in dagster.yaml",
            )  # fmt: skip
        limited = ", ".join(f"{pool} {limit}" for pool, limit in limits.items() if limit is not None)
        if limited:
            yield ok("pools", f"steps at once: {limited}")


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return f"{', '.join(found)} {'is' if len(found) == 1 else 'are'}" if found else ""


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.expanduser().absolute()
    return next(p for p in (path, *path.parents) if p.exists())


def _clock_of(settings: Settings) -> str | None:
    """Who is asked for the time: whoever checks signatures first."""
    source = shown(settings.source)
    for uri in (settings.lake, source):
        if uri.startswith("s3://"):
            return (
                os.environ.get("AWS_ENDPOINT_URL")
                or f"https://{uri.removeprefix('s3://').split('/')[0]}.s3.amazonaws.com"
            )
    return source if source.startswith(("http://", "https://")) else None


def _skew(address: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds by which this machine's clock is ahead; None where the answer has no date."""
    import urllib3

    with urllib3.PoolManager(timeout=urllib3.Timeout(10), retries=False) as pool:
        given = pool.request("HEAD", address, redirect=False).headers.get("Date")
    if given is None:
        return None
    return (now() - parsedate_to_datetime(given)).total_seconds()
