"""What a wheel carries beside the code: the files at the checkout's top level that the package reads.

``laion_assets/common/shipped.py`` finds them at both places. Everything else about the package stands in
``pyproject.toml``.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("dbt_like_sql", "recipes", "infra/local/dagster.yaml", "workspace.yaml", "constraints.txt")


def _files() -> list[str]:
    found = [file for name in SHIPPED for file in (Path(name), *sorted(Path(name).rglob("*")))]
    return [file.as_posix() for file in found if file.is_file() and not file.name.startswith(".")]


class BuildWithFiles(build_py):
    """Builds the package with those files in it. An editable install reads them where they lie."""

    def run(self) -> None:
        """Build."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)  # else what was taken out since would be carried on
        super().run()
        if not self.editable_mode:
            for name in _files():
                target = Path(self.build_lib) / "laion_assets" / "_shipped" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(name, target)

    def get_source_files(self) -> list[str]:
        """What a source distribution holds."""
        return [*super().get_source_files(), *_files()]


setup(cmdclass={"build_py": BuildWithFiles})
