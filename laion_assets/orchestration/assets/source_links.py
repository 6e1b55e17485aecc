"""From an asset's page to the code that builds it: in a repository where one is known, on this machine otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from laion_assets.common.shipped import in_repository


def function_link(function: Callable[..., Any], code_url: str | None) -> dict[str, Any]:
    """Metadata that leads to a function; see :func:`file_link`."""
    code = function.__code__
    return file_link(Path(code.co_filename), code_url, line=code.co_firstlineno)


def file_link(file: Path, code_url: str | None, *, line: int | None = None) -> dict[str, Any]:
    """Metadata that leads to a file.

    Args:
        file: of this machine.
        code_url: where a browser shows the top folder of the repository; None: nowhere.
        line: of the file, from 1.
    """
    path = in_repository(file)
    reference: dg.LocalFileCodeReference | dg.UrlCodeReference
    if code_url is None or path is None:  # somebody's own models are in no repository that we know
        reference = dg.LocalFileCodeReference(file_path=str(file.resolve()), line_number=line)
    else:
        anchor = "" if line is None else f"#L{line}"
        reference = dg.UrlCodeReference(url=f"{code_url.rstrip('/')}/{path}{anchor}")
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}
