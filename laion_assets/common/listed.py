"""Several values in one variable."""

import json
import re


def listed(value: object, what: str, apart: str = ",") -> object:
    """The values that a variable names: a JSON list, or text with something between them. What is no text stays.

    Args:
        value: of the variable.
        what: may be written: `paths with : between them, or a JSON list of paths`.
        apart: what stands between them, as an expression.

    Raises:
        ValueError: it begins like a JSON list, and is none.
    """
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return tuple(one for one in map(str.strip, re.split(apart, value)) if one)
    try:
        return tuple(json.loads(value))
    except ValueError as error:
        raise ValueError(f"expected {what}: {error}") from error
