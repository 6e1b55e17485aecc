"""What every page is made with: templates that escape what they are given, and a file that is written all at once."""

import re
from pathlib import Path

from markupsafe import Markup, escape

from laion_assets.charts.style import style
from laion_assets.common.files import write_file

_QUOTED = re.compile(r"`([^`]+)`")


def rendered(template: str, **values: object) -> str:
    """A page out of one of the templates in this folder."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("laion_assets.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    environment.globals["charts"] = Markup(style())  # noqa: S704 - colours of ours
    return environment.get_template(template).render(**values)


def prose(text: str) -> Markup:
    """A text of ours, with what stands in backticks as code."""
    parts = _QUOTED.split(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else escape(p) for n, p in enumerate(parts))


def write_page(output: Path, page: str) -> int:
    """Write a page to a file, or leave what was there if that fails; gives the size in bytes.

    Raises:
        OSError: it cannot be written.
    """
    content = page.encode("utf-8")
    write_file(output, content)
    return len(content)
