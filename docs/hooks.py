"""What the site needs beyond the pages of `docs/`: documents that lie beside them in the repository.

Links between documents are those of the repository, so that they lead somewhere wherever they are read. For the site,
documents outside of `docs/` become pages of it, and links to other files their names.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

REPOSITORY: Final = Path(__file__).resolve().parents[1]
OUTSIDE: Final = {
    "ARCHITECTURE.md": "design/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "dbt_like_sql/README.md": "howto/sql-models-shipped.md",
    "infra/README.md": "howto/where-it-runs.md",
    "infra/ray/README.md": "howto/ray-step-by-step.md",
}
"""Documents of the repository, and what the site calls them."""
_INSIDE: Final = {page: name for name, page in OUTSIDE.items()}
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the documents from outside."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn a page's links between files of the repository into links between pages of the site."""
    at = page.file.src_uri
    folder = posixpath.dirname(_INSIDE.get(at, f"docs/{at}"))

    def placed(link: re.Match[str]) -> str:
        mark, text, target, part = link[1], link[2], link[3], link[4] or ""
        if not target:
            return link[0]
        name = posixpath.normpath(posixpath.join(folder, target))
        if name not in OUTSIDE and not name.startswith("docs/"):
            return text if text.startswith("`") else f"`{name}`" if text in name else text
        lies = OUTSIDE.get(name, name.removeprefix("docs/"))
        return f"{mark}[{text}]({posixpath.relpath(lies, posixpath.dirname(at) or '.')}{part})"

    return _LINK.sub(placed, markdown)
