"""Whether an event is one of OpenLineage: the classes that its project generates from the published schemas read it."""

import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import attr
import jsonschema
from openlineage.client import event_v2, facet_v2
from openlineage.client.generated import base

from laion_assets.delta.openlineage import OWN_FACETS

OWN = json.loads((Path(__file__).resolve().parents[1] / "docs" / "openlineage-facets.json").read_text())


def read_event(event: Mapping[str, Any]) -> event_v2.RunEvent:
    """The event, read.

    Raises:
        AssertionError, KeyError, TypeError, ValueError, jsonschema.ValidationError: it is none; says what is wrong.
    """
    assert {*event} <= {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}
    assert event["schemaURL"] == event_v2.RunEvent._get_schema()
    return event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(**_with_facets(event["run"])),
        job=event_v2.Job(**_with_facets(event["job"])),
        inputs=[event_v2.InputDataset(**_with_facets(found)) for found in event.get("inputs", ())],
        outputs=[event_v2.OutputDataset(**_with_facets(found)) for found in event.get("outputs", ())],
    )


def _with_facets(part: Mapping[str, Any]) -> dict[str, Any]:
    kinds = ("facets", "inputFacets", "outputFacets")
    return {k: {n: _facet(f) for n, f in v.items()} if k in kinds else v for k, v in part.items()}


def _facet(values: Mapping[str, Any]) -> base.BaseFacet:
    url = values["_schemaURL"]
    if url.startswith(OWN_FACETS):
        schema = {**OWN, "$ref": url.removeprefix(OWN_FACETS)}
        jsonschema.validate(values, schema, format_checker=jsonschema.FormatChecker())
        return base.BaseFacet(producer=values["_producer"])
    given = {name: value for name, value in values.items() if name not in ("_producer", "_schemaURL")}
    return _made(_published()[url], {**given, "producer": values["_producer"]})  # type: ignore[no-any-return]


def _published() -> dict[str, type[base.BaseFacet]]:
    modules = [module for module in vars(facet_v2).values() if isinstance(module, types.ModuleType)]
    classes = [found for module in modules for found in vars(module).values() if isinstance(found, type)]
    return {found._get_schema(): found for found in classes if issubclass(found, base.BaseFacet)}


def _made(hint: Any, value: Any) -> Any:
    """A value as its type has it, and nothing in it that the type does not know."""
    origin, within = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None and type(None) in within else _made(within[0], value)
    if origin is list:
        assert isinstance(value, list), f"expected a list, found {value!r}"
        return [_made(within[0], part) for part in value]
    if origin is dict:
        return {name: _made(within[1], part) for name, part in value.items()}
    if attr.has(hint):
        hints = get_type_hints(hint)
        known = {field.name.lstrip("_"): hints[field.name] for field in attr.fields(hint) if field.init}
        return hint(**{name: _made(known.get(name, Any), part) for name, part in value.items()})
    assert hint is Any or isinstance(value, hint), f"expected {hint.__name__}, found {value!r}"
    return value
