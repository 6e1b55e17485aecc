"""What somebody sets of the needs that tables declare: ``LAION_LIMITS__…``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from laion_assets.tables.catalogue import TABLES
from laion_assets.tables.needs import Need

SQL_MODELS = "sql_models"
"""The name under which the needs of every SQL model are declared."""

NEEDS: Mapping[str, Need] = {
    **{table.name: table.need for table in TABLES.values() if table.need is not None},
    SQL_MODELS: Need(cpus=2),
}
"""By table. DuckDB spills, embedding goes tar by tar: memory does not grow with the lake, except where it is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What somebody sets of a table's needs; None: as declared."""

    cpus: Annotated[float, Field(gt=0)] | None = None
    """Cores."""
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    """GiB that a step and its child processes may hold."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """Whole GPUs; 0: the step is not kept for a machine that has some."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours that one partition may take."""


def _known(limits: Mapping[str, Sizes]) -> Mapping[str, Sizes]:
    unknown = sorted({*limits} - {*NEEDS})
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)}; limits are set for {', '.join(NEEDS)}")
    return limits


Limits: TypeAlias = Annotated[Mapping[str, Sizes], AfterValidator(_known)]
"""Sizes by table, as ``LAION_LIMITS__…`` sets them."""


def need_of(table: str, limits: Mapping[str, Sizes]) -> Need:
    """What a step of ``table``, or of a SQL model, needs under these settings."""
    name = declared_as(table)
    given = asdict(limits[name]) if name in limits else {}
    return replace(NEEDS[name], **{key: value for key, value in given.items() if value is not None})


def declared_as(table: str) -> str:
    """The name under which the needs of ``table`` are declared and set."""
    return table if table in NEEDS else SQL_MODELS
