"""Every setting, read once: from the environment (``LAION_``, nested with ``__``), then from the lake's own file.

A lake may carry a ``settings.env`` with settings of its own, such as the encoder it was built with, so that opening
it again needs nothing but its path. The environment wins over that file. The libraries declare their options; this
module only puts them together, and says what counts of those that shape tables.
"""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSetting

from laion_assets.clip.calibration import CalibrationOptions
from laion_assets.clip.options import EncoderError, EncoderOptions, content_sha256, encoder_identity
from laion_assets.common.digests import json_digest
from laion_assets.common.logs import LogFormat, LogLevel
from laion_assets.common.messages import AlertOptions
from laion_assets.consent.policy import ConsentOptions
from laion_assets.delta.lake import Lake
from laion_assets.delta.location import open_storage
from laion_assets.delta.partition import Partition
from laion_assets.delta.retention import RetentionOptions
from laion_assets.delta.scope import VerificationOptions
from laion_assets.delta.states import Expectation
from laion_assets.download.options import DownloadOptions
from laion_assets.evaluation.options import EvaluationOptions
from laion_assets.kept_settings import LAKE_SETTINGS_FILE as LAKE_SETTINGS_FILE
from laion_assets.kept_settings import LakeSettingsSource
from laion_assets.kept_settings import write_lake_settings as write_lake_settings
from laion_assets.lake.opening import open_lake, recorded_shape
from laion_assets.pairs.policy import FilterOptions
from laion_assets.scoring.head import Head, read_heads
from laion_assets.scoring.tensors import HeadError
from laion_assets.scoring.weights import checked
from laion_assets.setting_names import unknown_names
from laion_assets.setting_values import download_options, files_of, old_allowance, owners_of
from laion_assets.sources.extract import ExtractionOptions
from laion_assets.sql import PROJECT
from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.declaration import Outside, Shaping
from laion_assets.tables.limits import Limits
from laion_assets.tables.needs import GPU_NODES, Executor, RetryOptions
from laion_assets.text.language import LANGUAGE_GROUPS
from laion_assets.training.compute import ComputeOptions
from laion_assets.training.recipe import RECIPES, Recipe, open_recipes, recipe_named

_logger = logging.getLogger(__name__)


class SettingsError(ValueError):
    """A setting is wrong; the message names it and says what is accepted."""


Files: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(files_of)]


@dataclass(frozen=True, kw_only=True, slots=True)
class DenyOptions:
    """Lists of what must never be fetched or kept; text files, one entry a line, ``#`` begins a comment."""

    url_lists: Files = ()
    """Files of urls."""
    domain_lists: Files = ()
    """Files of domains; each stands for its subdomains too."""
    hash_lists: Files = ()
    """Files of hex digests (MD5, SHA-1 or SHA-256) of urls or of picture bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreOptions:
    """What scores pictures for unsafe content, watermarks and aesthetics; nothing does as delivered."""

    heads: Files = ()
    """YAML files that describe a head each. Of several that measure the same, released pairs carry what the first of
    them says that could score the picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AutomationOptions:
    """What may run without anybody asking, and how much of it."""

    first_crawl: str | None = None
    """The first crawl that is taken on, by name; None: all that a source lists, and none of the real Common Crawl."""
    interval_seconds: int = 30
    """Seconds between two looks at what became due."""
    crawl_interval_seconds: int = 3_600
    """Seconds between two looks at the source's list of crawls."""
    attempts: int = 3
    """Runs that a partition may cost for the same inputs, code and settings; then it waits for a change or a person."""
    retry_minutes: float = 10.0
    """Minutes from a failure to the next attempt; twice as many before each further one."""
    runs_at_once: int = 20
    """Runs, queued ones included, beyond which nothing more is asked for."""
    partitions_per_run: int = 32
    """Short partitions that one run over a range may build."""
    nightly: str = "0 2 * * *"
    """When the nightly backfill begins, as cron has it, UTC."""
    nightly_runs: int = 200
    """Runs a night."""
    nightly_gigabytes: float = 500.0
    """Gigabytes a night may download, as estimated from what was downloaded before."""
    nightly_gpu_hours: float = 24.0
    """Hours of GPU a night may take, as estimated from embeddings made before."""
    nightly_retries: bool = True
    """Whether a night downloads again what failed for a reason that can pass, as long as that changes anything."""
    fresh_days: float | None = None
    """Days within which another crawl is expected; tables that got none are overdue. None: they never are."""

    def __post_init__(self) -> None:
        """Refuse what Dagster would."""
        if self.fresh_days is not None and not 0.01 <= self.fresh_days <= 36_500:
            raise ValueError(f"fresh_days: expected 0.01 to 36500, found {self.fresh_days:g}")


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(env_prefix="LAION_", env_nested_delimiter="__", extra="forbid", frozen=True)

    lake: str = "lake"
    """Where the lake is: a folder, or s3://bucket/prefix."""
    source: str = Field("sample-web", repr=False)
    """Where crawls come from: s3://commoncrawl, https://data.commoncrawl.org, or a folder of the same layout."""
    shards: int = Field(4, ge=1, le=10_000)
    """Partitions of a crawl before the shuffle; fixed when the lake is created."""
    buckets: int = Field(4, ge=1, le=10_000)
    """Partitions of a crawl after the shuffle; fixed when the lake is created."""
    models: str = str(PROJECT)
    """Folder of the SQL models and their tests."""
    wat_files: int | None = Field(None, ge=1)
    """Take only the first so many files of a crawl; None: as the crawl was listed before, at first all."""
    format: Literal["wat", "warc"] | None = None
    """Read WAT files or WARC files; None: as before, at first WAT."""
    extraction: ExtractionOptions = ExtractionOptions()
    download: Annotated[DownloadOptions, BeforeValidator(download_options)] = DownloadOptions()
    encoder: EncoderOptions = EncoderOptions()
    multilingual_encoder: EncoderOptions | None = None
    """A second encoder for text that is not English."""
    calibration: CalibrationOptions = CalibrationOptions()
    scores: ScoreOptions = ScoreOptions()
    filter: FilterOptions = FilterOptions()
    deny: DenyOptions = DenyOptions()
    consent: ConsentOptions = ConsentOptions()
    recipes: str = str(RECIPES)
    """Folder of training recipes."""
    benchmarks: str | None = None
    """Folder of evaluation sets in CLIP_benchmark's layout, one folder each; None: `files/benchmarks` in the lake."""
    training: ComputeOptions = ComputeOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    retention: RetentionOptions = RetentionOptions()
    verification: VerificationOptions = VerificationOptions()
    automation: AutomationOptions = AutomationOptions()
    alerts: AlertOptions = AlertOptions()
    executor: Executor = "in-process"
    """Who runs the steps of a run."""
    limits: Limits = Field(default_factory=dict)
    """By table, what a step may take and asks for: LAION_LIMITS__IMAGES__MEMORY_GIB=16."""
    retries: RetryOptions = RetryOptions()
    gpu_nodes: Mapping[str, str] = GPU_NODES
    """Labels of the Kubernetes nodes that have GPUs, as a JSON object."""
    owners: Annotated[tuple[str, ...], NoDecode, BeforeValidator(owners_of)] = ("team:lakehouse",)
    """Who looks after the lake, as the assets' pages say: `team:NAME` or e-mail addresses, with commas between them."""
    code_url: str | None = Field(None, pattern=r"^https?://")
    """Where a browser shows the top of this repository at the revision that runs; None: links lead to local files."""
    log_format: LogFormat = "text"
    """How log lines are written: `text`, or `json` for one JSON object a line."""
    log_level: LogLevel | None = None
    """The least that is logged; None: WARNING as text, INFO as JSON."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The lake's own file goes after the environment, and its paths are the lake's."""
        file = dotenv_settings.env_file if isinstance(dotenv_settings, DotEnvSettingsSource) else None
        return init_settings, env_settings, LakeSettingsSource(settings_cls, env_file=file), file_secret_settings

    @property
    def benchmark_folder(self) -> Path:
        """Where the evaluation sets lie on this machine. Those in a bucket are fetched, as far as they changed."""
        if self.benchmarks:
            return Path(self.benchmarks).expanduser()
        return open_storage(self.lake).copy_of("files/benchmarks")

    @cached_property
    def _recipes(self) -> tuple[Mapping[str, Recipe], tuple[str, ...]]:
        return open_recipes(Path(self.recipes).expanduser())

    @property
    def known_recipes(self) -> Mapping[str, Recipe]:
        """Every recipe by name, but those that are wrong."""
        return self._recipes[0]

    @property
    def recipe_faults(self) -> tuple[str, ...]:
        """What is wrong with the others, a line for each."""
        return self._recipes[1]

    def recipe(self, name: str) -> Recipe:
        """The recipe called ``name``.

        Raises:
            RecipeError: there is none, or it is wrong.
        """
        return recipe_named(self.known_recipes, name, self.recipe_faults)

    @cached_property
    def encoders(self) -> dict[str, EncoderOptions]:
        """The encoder of each language group."""
        other = self.multilingual_encoder or self.encoder
        return {group: self.encoder if group == "en" else other for group in LANGUAGE_GROUPS}

    @property
    def heads(self) -> tuple[Head, ...]:
        """The heads that score pictures, in their order.

        Raises:
            HeadError: a file describes none.
        """
        return read_heads(self.scores.heads)

    def wants(self, table: str) -> bool:
        """Whether the partitions of a table are to be built: those of an optional one where settings ask for them."""
        declared = TABLES.get(table)
        return declared is None or not declared.optional or bool(self.scores.heads)

    def offers(self, table: str) -> bool:
        """Whether Dagster shows a table: it is wanted, or was built before, and is to be built without rows now."""
        if self.wants(table):
            return True
        storage = open_storage(self.lake)
        return not storage.is_local or storage.exists(f"{table}/_delta_log/{0:020}.json")  # a bucket is not asked here

    def open_lake(self, *, create: bool = True) -> Lake:
        """Open the lake these settings name."""
        return open_lake(self.lake, shards=self.shards, buckets=self.buckets, create=create)

    def lake_if_any(self) -> Lake | None:
        """The lake these settings name; None where there is none yet."""
        return None if recorded_shape(self.lake) is None else self.open_lake(create=False)

    def expectations(self, removals_digest: str | None) -> Mapping[str, Expectation]:
        """By table, the digests of settings and of outside inputs that a build would record now; without a recipe's.

        Args:
            removals_digest: digest of takedowns and deny lists together; None where that cannot be said.
        """
        return {table: self.expectation(table, {}, removals_digest) for table in TABLES}

    def expectation(self, table: str, partition: Partition, removals_digest: str | None) -> Expectation:
        """What a build of one partition would record now; of a recipe's partitions, what of it shapes them.

        Raises:
            RecipeError: the partition is of a recipe that is not there, or wrong.
        """
        digests = {Outside.REMOVALS: removals_digest}
        found = {outside.label: digests[outside] for outside in TABLES[table].outside}
        externals = {name: digest for name, digest in found.items() if digest is not None}
        try:
            counted = [self._counted(shaping, partition) for shaping in TABLES[table].shaped_by]
        except (EncoderError, HeadError, _Missing) as error:  # in a moved lake, perhaps: whoever builds needs the file
            return Expectation(settings_digest=None, externals=externals, missing=str(error), wanted=self.wants(table))
        # One alone stands for itself, and none at all for nothing: recorded digests were taken so.
        value = counted if len(counted) > 1 else next(iter(counted), None)
        digest = json_digest(value, sort_keys=True, digits=16)
        return Expectation(settings_digest=digest, externals=externals, wanted=self.wants(table))

    def _counted(self, shaping: Shaping, partition: Partition) -> Any:
        """What counts of settings that shape rows, as JSON has it; None of recipes where the partition is of none."""
        match shaping:
            case Shaping.EXTRACTION:
                return asdict(self.extraction)
            case Shaping.CONSENT:
                return self.consent.content  # None as delivered: digests are older than the options
            case Shaping.CALIBRATION:
                return self._calibration_content()
            case Shaping.ENCODERS:
                return {
                    group: [options.model, encoder_identity(options), options.precision]
                    for group, options in self.encoders.items()
                }
            case Shaping.SCORES:
                return [checked(head, self.encoders).content for head in self.heads]
            case Shaping.FILTER:
                return self._filter_content()
            case Shaping.SELECTION | Shaping.SCHEDULE if "recipe" not in partition:
                return None
            case Shaping.SELECTION:
                return self.recipe(str(partition["recipe"])).of_training_set()
            case Shaping.SCHEDULE:
                recipe = self.recipe(str(partition["recipe"]))
                return [recipe.of_training(), recipe.config_digest]
            case Shaping.EVALUATION:
                return [getattr(self.evaluation, option) for option in shaping.options]

    def _filter_content(self) -> dict[str, Any]:
        """What counts of the filter; no bound on a score that nothing measures."""
        for bound, kind in self.filter.score_bounds.items():
            if kind not in {head.measures for head in self.heads}:
                raise _Missing(
                    f"LAION_FILTER__{bound.upper()} is a bound on a score, and no head measures {kind}: name one in "
                    "LAION_SCORES__HEADS, or leave the bound out"
                )
        return self.filter.content

    def _calibration_content(self) -> list[Any]:
        """What decides thresholds beside the encoder: what is in the file of pairs, wherever it lies."""
        options = self.calibration
        path = None if options.pairs is None else Path(options.pairs)
        if path is not None and not path.is_file():
            raise _Missing(f"LAION_CALIBRATION__PAIRS: expected a Parquet file of held-out pairs, found none at {path}")
        return [None if path is None else content_sha256(path), options.picture_domain, options.seed, options.keep]


class _Missing(Exception):
    """A file that a digest is of is not there."""


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: naming each wrong setting and what it must be.
    """
    lake = os.environ.get("LAION_LAKE", Settings.model_fields["lake"].default)
    recorded = recorded_shape(lake)
    shape: dict[str, Any] = {}
    if recorded is not None:  # an existing lake knows its own shape, unless somebody insists on another
        shape = {
            name: value
            for name, value in zip(("shards", "buckets"), recorded, strict=True)
            if f"LAION_{name.upper()}" not in os.environ
        }
    old = old_allowance(os.environ)
    if old is not None:
        raise SettingsError(f"wrong settings: {old}")
    faults, warnings = unknown_names(os.environ, Settings)
    for warning in warnings:
        _warn_once(warning)
    wrong: Exception | None = None
    try:
        with open_storage(lake).local(LAKE_SETTINGS_FILE) as kept:
            found = Settings(_env_file=kept, **shape)  # type: ignore[call-arg]
    except ValidationError as error:
        wrong = error
        faults += [
            f"LAION_{'__'.join(str(part).upper() for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
    except UnreadableSetting as error:  # says neither its name as the user knows it nor what it should be
        wrong = error
        named = re.search(r'field "(\w+)"', str(error))
        name = f"LAION_{named[1].upper()}" if named else "a LAION_ setting"
        faults.append(f"{name}: expected a JSON object, or {name}__… for each option")
    if faults:
        raise SettingsError(f"wrong settings: {'; '.join(faults)}") from wrong
    return found


@cache
def _warn_once(warning: str) -> None:
    """Say it once in a process, however often the settings are read."""
    _logger.warning(warning)
