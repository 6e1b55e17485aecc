"""The commands of ``laion``."""

import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from laion_assets.cli.alerts import alerts
from laion_assets.cli.clean import clean
from laion_assets.cli.common import LakeOption, SourceOption, UsageError, complain, out, settings_of
from laion_assets.cli.crawls import crawls, known_crawls
from laion_assets.cli.doctor.command import doctor
from laion_assets.cli.gc import gc
from laion_assets.cli.imports import import_, imports
from laion_assets.cli.lineage.command import diff, lineage
from laion_assets.cli.models import models
from laion_assets.cli.plan import plan
from laion_assets.cli.recipes import recipes
from laion_assets.cli.release import diff as _release_diff  # noqa: F401 - has a command
from laion_assets.cli.release import feed as _release_feed  # noqa: F401 - has a command
from laion_assets.cli.release import page as _release_page  # noqa: F401 - has a command
from laion_assets.cli.release import verify as _release_verify  # noqa: F401 - has a command
from laion_assets.cli.release.command import releases
from laion_assets.cli.report import report
from laion_assets.cli.restore import restore
from laion_assets.cli.scores import scores
from laion_assets.cli.settings import settings
from laion_assets.cli.sql.command import sql
from laion_assets.cli.sql.tables import tables
from laion_assets.cli.status import status
from laion_assets.cli.streams import standard_streams
from laion_assets.cli.takedowns import takedown, takedowns
from laion_assets.cli.training import benchmarks, evaluate, train
from laion_assets.cli.verify import verify
from laion_assets.delta.errors import LakeError
from laion_assets.delta.location import open_storage
from laion_assets.settings import Settings, SettingsError
from laion_assets.sql.errors import ModelError
from laion_assets.tables.catalogue import PER_CRAWL

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""From Common Crawl to filtered image-text pairs.

Every stage is a Delta table in the lake; every partition of it is built by one Dagster run. The stages, in order:
crawl_snapshots, wat_files, candidate_pairs, unique_pairs, images, clip_embeddings, filtered_pairs.

Settings come from the environment (`LAION_…`, nested with `__`) and from `settings.env` in the lake. Start with
`laion demo`, or with `laion crawls` and `laion build CRAWL`.""",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"laion {version('laion-lakehouse')}")
        raise typer.Exit


@app.callback()
def before_every_command(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version, and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before a command."""


def main() -> None:
    """Run the command line. Expected errors are one line on stderr and exit code 2."""
    with standard_streams():
        _run()


def _run() -> None:
    from laion_assets.clip.options import EncoderError
    from laion_assets.consent.removals import RemovalError
    from laion_assets.evaluation.benchmark import BenchmarkError
    from laion_assets.orchestration.execution import ExecutorError
    from laion_assets.orchestration.planning.waves import RequestError
    from laion_assets.release.parts import ReleaseError
    from laion_assets.sample.publish import SampleError
    from laion_assets.sources.sources import SourceError
    from laion_assets.training.recipe import RecipeError

    try:
        app()
    except (
        UsageError,
        RequestError,
        LakeError,
        SettingsError,
        SourceError,
        EncoderError,
        RemovalError,
        SampleError,
        RecipeError,
        ReleaseError,
        BenchmarkError,
        ExecutorError,
    ) as error:
        complain("laion:", str(error))
        sys.exit(2)
    except ModelError as error:
        for fault in error.faults:
            complain("laion:", str(fault))
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # what polars and Delta panic with is no Exception
        told = _told(error)
        if told is None:
            raise
        complain("laion:", told)
        sys.exit(2)


def _told(error: BaseException) -> str | None:
    """What to tell of an error that nobody foresaw, where it comes from what lies around us; None: it is ours."""
    from laion_assets.cli.doctor.storage_faults import lake_fault, storage_fault

    told = storage_fault(error) or lake_fault(error)
    if told is None and isinstance(error, OSError) and error.filename is not None:  # about a file that somebody named
        return f"{error.filename}: {error.strerror}"
    return told


def _add(*commands: Callable[..., None]) -> None:
    for command in commands:
        app.command()(command)


# In the order in which `laion --help` lists them.
_add(sql, report, lineage, diff, train, benchmarks, evaluate, gc, status, doctor, settings, plan, crawls)
app.command("import")(import_)
_add(imports, tables, verify, restore)
app.command(context_settings={"ignore_unknown_options": True})(takedown)  # `-92` is a pair, and no option
_add(takedowns, clean)


@app.command()
def build(
    crawls: Annotated[
        list[str], typer.Argument(help="Names of crawls, CC-MAIN-2024-10, or of imports; `laion crawls` lists them.")
    ],
    lake: LakeOption = None,
    source: SourceOption = None,
    until: Annotated[str, typer.Option(help="Last table to build.", metavar="TABLE")] = PER_CRAWL[-1],
    wat_files: Annotated[int | None, typer.Option(min=1, help="Take only the first N files of each crawl.")] = None,
    format: Annotated[str | None, typer.Option(help="Read `wat` or `warc` files.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Attempt downloads again that failed for a reason that can pass.")
    ] = False,
    refetch: Annotated[bool, typer.Option("--refetch", help="Download every picture again, known or not.")] = False,
    executor: Annotated[
        str | None,
        typer.Option(
            help="Who runs the steps: `in-process`, `multiprocess` or `ray` (LAION_EXECUTOR).",
            show_default=False,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Partitions to build at once, by other executors than `in-process`.", show_default=False
        ),
    ] = None,
) -> None:
    """Build what is missing or stale of some crawls, stage by stage.

    What is done is left alone, so the same command goes on after an interruption. Exit code 1 if a partition could not
    be built; the others are built all the same. Whatever the executor and the number of jobs, no more steps run at once
    than their pools hold (`dagster instance concurrency`).
    """
    settings = settings_of(lake, source, wat_files=wat_files, format=format, executor=executor)
    _known_table(until)
    at_once = _jobs(settings, jobs)
    from laion_assets.cli import building
    from laion_assets.orchestration.planning.crawls import CrawlRequest
    from laion_assets.orchestration.runs.home import dagster_instance

    known_crawls(settings, crawls)
    request = CrawlRequest(crawls=crawls, until=until, retry_failed=retry_failed, refetch=refetch)
    outcome = building.build(settings, request, jobs=at_once)
    building.record_states(settings, dagster_instance(), out, errors=[error for *_, error in outcome.failures])
    named = ", ".join(crawls)
    nothing = f"{named} {'is' if len(crawls) == 1 else 'are'} up to date as far as {until}"
    building.tell(outcome, nothing=nothing, then="; `laion status` shows all")
    building.end_if_failed(outcome)


@app.command()
def demo(
    lake: LakeOption = None,
    folder: Annotated[Path, typer.Option(help="Where the sample web is published.")] = Path("sample-web"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Stop before training on what was collected; makes no evaluation sets either."),
    ] = False,
) -> None:
    """Build two sample crawls through every stage, measure the filter, and train CLIP on what it kept.

    Renders a small web with pages and pictures, publishes it as Common Crawl does, serves it on loopback, trains a
    small CLIP on clean pairs as the filter's encoder, and builds both crawls as Dagster runs. Writes the English pairs
    as a release beside the lake, `sample-release`. Then trains one recipe on the kept pairs and its twin on all of
    them, and measures both. `make ui` shows everything.
    """
    from laion_assets.cli.demo import run_demo

    storage = open_storage(lake or os.environ.get("LAION_LAKE", "lake"))
    if not storage.is_local:
        raise UsageError(f"--lake: the demo makes a lake in a folder, found {storage.uri}")
    run_demo(Path(storage.uri), folder, out, quick=quick)


@app.command()
def ui(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the web server on 127.0.0.1; 0: a free one.")
    ] = 3000,
    lake: LakeOption = None,
    source: SourceOption = None,
) -> None:
    """Open the Dagster UI and daemon on the same lake and runs; serves the sample's pictures if that is the source."""
    from laion_assets.cli.ui import run_ui

    run_ui(settings_of(lake, source), port, out)


sample = typer.Typer(no_args_is_help=True, help="The sample web: publish it, serve it.")
app.add_typer(sample, name="sample")
app.add_typer(models, name="models")
app.add_typer(scores, name="scores")
app.add_typer(alerts, name="alerts")
app.add_typer(recipes, name="recipes")
app.add_typer(releases, name="release")


@sample.command()
def publish(folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("sample-web")) -> None:
    """Render the sample web and publish it as two crawls, as Common Crawl does."""
    from laion_assets.sample.options import SampleOptions
    from laion_assets.sample.publish import publish as write

    write(folder, SampleOptions())
    out.print(f"published in {folder}: set LAION_SOURCE={folder}")


@sample.command()
def serve(folder: Annotated[Path, typer.Argument(help="A published sample web.")] = Path("sample-web")) -> None:
    """Serve the pictures of the sample web on loopback until interrupted."""
    from laion_assets.cli.demo import serve_forever

    serve_forever(folder, out)


def _known_table(name: str) -> None:
    if name not in PER_CRAWL:
        raise UsageError(f"--until: there is no stage {name!r}; the stages are {', '.join(PER_CRAWL)}")


def _jobs(settings: Settings, asked: int | None) -> int:
    """Partitions to build at once. Where somebody else's machines do the work, more than this one has cores."""
    if settings.executor == "in-process":
        if asked not in (None, 1):
            raise UsageError("--jobs: in one process one partition is built at a time; add --executor multiprocess")
        return 1
    return asked or (os.cpu_count() or 1 if settings.executor == "multiprocess" else 32)
