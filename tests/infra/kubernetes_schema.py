"""Whether a manifest is what Kubernetes' own API takes: fields, types and required fields of the generated client."""

import re
from collections.abc import Iterator
from typing import Any

from kubernetes import client

_PLAIN: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def faults(value: Any, kind: str, *, partial: bool = False, path: str = "") -> Iterator[str]:
    """What is wrong with ``value`` as an object of the API.

    Args:
        value: as it stands in a YAML file.
        kind: name of a type as the client writes it: `V1Pod`, `list[V1Toleration]`, `dict[str, str]`.
        partial: the value is merged into an object by somebody else, so that required fields may be absent.
        path: where the value stands.
    """
    if value is None or kind in ("object", "datetime"):
        return
    if kind.startswith("list["):
        if not isinstance(value, list):
            yield f"{path}: expected a list, found {value!r}"
            return
        for number, item in enumerate(value):
            yield from faults(item, kind[5:-1], path=f"{path}[{number}]")
    elif found := re.fullmatch(r"dict[(\[]str, (.*)[)\]]", kind):
        if not isinstance(value, dict):
            yield f"{path}: expected a mapping, found {value!r}"
            return
        for name, item in value.items():
            yield from faults(item, found[1], path=f"{path}.{name}")
    elif kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]) or (kind != "bool" and isinstance(value, bool)):
            yield f"{path}: expected {kind}, found {value!r}"
    else:
        yield from _faults_of_model(value, kind, partial=partial, path=path)


def _faults_of_model(value: Any, kind: str, *, partial: bool, path: str) -> Iterator[str]:
    model = getattr(client, kind)
    if not isinstance(value, dict):
        yield f"{path}: expected {kind}, found {value!r}"
        return
    attributes = {json: attribute for attribute, json in model.attribute_map.items()}
    for name in value:
        if name not in attributes:
            yield f"{path}.{name}: {kind} has no such field"
            continue
        yield from faults(value[name], model.openapi_types[attributes[name]], path=f"{path}.{name}")
    if not partial:
        try:  # the constructor refuses what lacks a required field
            model(**{attributes[name]: item for name, item in value.items() if name in attributes})
        except ValueError as error:
            yield f"{path}: {error}"


def kind_of(manifest: dict[str, Any]) -> str:
    """The client's name of a manifest's type."""
    group, _, version = manifest["apiVersion"].rpartition("/")
    assert group in ("", "networking.k8s.io", "policy"), f"unknown group {group}"
    return f"{version.capitalize()}{manifest['kind']}"
