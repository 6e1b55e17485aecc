"""Tables of older lakes: the columns that came to a declaration since, the nulls that it allows now, and of which
columns the log keeps bounds.

A lake is opened as it is. Only when a partition is written next does its table become what is declared: by one entry of
the log that changes no row, for delta-rs adds columns, but takes back no NOT NULL. Data files stay what they are:
readers find nulls in what they lack.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from deltalake import DeltaTable, Schema

from laion_assets.delta.errors import LakeError
from laion_assets.delta.lake import Lake
from laion_assets.delta.seals import entry_name, write_seal
from laion_assets.delta.table import Table

_ATTEMPTS = 20
_OF_BOUNDS = ("delta.dataSkippingStatsColumns", "delta.dataSkippingNumIndexedCols")
_OPERATION = "UPDATE FIELD METADATA"
"""One of Delta's names, which every version of this code knows to change no row."""


def grow(lake: Lake, table: Table) -> None:
    """Let a table allow all that is declared for it now; nothing where it does, or is not there yet. Safe to race.

    Raises:
        LakeError: others change the table again and again.
    """
    for _ in range(_ATTEMPTS):
        if not lake.exists(table.name):
            return
        delta = lake.opened(table.name)
        before = json.loads(delta.schema().to_json())["fields"]
        fields = _grown(before, table)
        configuration = _configured(delta.metadata().configuration, table)
        if fields is None and configuration is None:
            return
        version = delta.version() + 1
        entry = _entry(delta, fields or before, configuration, lake.metadata)
        if lake.storage.create(entry_name(table.name, version), entry):
            write_seal(lake.storage, table.name, version, keep=False)
            return
    raise LakeError(f"{table.name} could not be given its new columns: other processes write to it; try again")


def _grown(fields: list[dict[str, Any]], table: Table) -> list[dict[str, Any]] | None:
    """A table's fields as they have to be; None where they are."""
    known = {field["name"]: field for field in fields}
    declared = json.loads(Schema.from_arrow(table.schema).to_json())["fields"]
    added = [field for field in declared if field["name"] not in known and field["nullable"]]
    nullable = {f["name"] for f in declared if f["nullable"]}
    relaxed = [name for name, field in known.items() if name in nullable and not field["nullable"]]
    if not added and not relaxed:
        return None
    return [{**field, "nullable": field["nullable"] or field["name"] in relaxed} for field in fields] + added


def _configured(known: Mapping[str, str], table: Table) -> dict[str, str] | None:
    """A table's properties as they have to be; None where they are."""
    found = {name: value for name, value in known.items() if name not in _OF_BOUNDS} | table.configuration
    return None if found == dict(known) else found


def _entry(
    delta: DeltaTable, fields: list[dict[str, Any]], configuration: dict[str, str] | None, told: dict[str, str]
) -> bytes:
    metadata = delta.metadata()
    described = {
        "id": str(metadata.id),
        "name": metadata.name,
        "description": metadata.description,
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(metadata.partition_columns),
        "createdTime": metadata.created_time,
        "configuration": dict(metadata.configuration) if configuration is None else configuration,
    }
    commit = {"timestamp": int(time.time() * 1000), "operation": _OPERATION, "operationParameters": {}, **told}
    return "".join(f"{json.dumps(action)}\n" for action in ({"commitInfo": commit}, {"metaData": described})).encode()
