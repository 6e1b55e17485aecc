"""Documents are true as far as looking up can tell: what they name, link to and show is there; pages made from the code
are current. Whether what they show runs is asked by ``tests/pipeline/test_documented.py``.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from docs.generate import FOLDER, PAGES
from laion_assets.cli.main import app
from laion_assets.setting_names import settings_in
from laion_assets.settings import Settings
from laion_assets.tables.catalogue import TABLES
from tests.infra.test_names import check_call, unknown_names
from tests.pipeline.documented import REPOSITORY

DOCUMENTS = sorted(
    str(path.relative_to(REPOSITORY))
    for pattern in ("*.md", "docs/**/*.md", "dbt_like_sql/*.md", "infra/**/*.md")
    for path in REPOSITORY.glob(pattern)
)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"`((?:[\w-]+/)+[\w-]+\.py)`")

GONE = {"LAION_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES"}
"""A setting that was, and of which an error still speaks."""


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """What the headings of a document are called in links."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_documents_are_where_they_are_looked_for():
    assert {"README.md", "ARCHITECTURE.md", "docs/glossary.md", "docs/reference/settings.md"} <= set(DOCUMENTS)
    assert len(DOCUMENTS) > 35


@pytest.mark.parametrize(("name", "most"), [("README.md", 8_000), ("ARCHITECTURE.md", 15_000)])
def test_the_first_pages_stay_short(name, most):
    assert len(text_of(name).encode()) <= most


def test_every_test_that_vouches_for_a_promise_is_there():
    named = re.findall(r"`(tests/[a-z0-9_/.]+)`", text_of("SECURITY.md"))
    assert len(named) > 15
    assert [path for path in named if not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    missing = []
    for target, anchor in LINK.findall(text_of(name)):
        place = (REPOSITORY / name).parent / target if target else REPOSITORY / name
        if not place.exists() or (anchor and anchor not in anchors(place.read_text(encoding="utf-8"))):
            missing.append(f"{target}#{anchor}")
    assert missing == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_of_the_code_that_are_named_are_there(name):
    bases = (REPOSITORY, REPOSITORY / "laion_assets", (REPOSITORY / name).parent)
    named = CODE.findall(text_of(name))
    assert [file for file in named if not any((base / file).exists() for base in bases)] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_names_of_the_code_are_there(name):
    rooms = {path.parent.name for path in (REPOSITORY / "laion_assets").glob("*/__init__.py")}
    lost = []
    for dotted in re.findall(r"`(?:laion_assets\.)?([a-z_]+\.[a-z_]+\.[A-Za-z_]+)(?:\(.*?\))?`", text_of(name)):
        room, module, what = dotted.split(".")
        file = REPOSITORY / "laion_assets" / room / f"{module}.py"
        if room in rooms and not (file.is_file() and f" {what}" in file.read_text(encoding="utf-8")):
            lost.append(dotted)
    assert lost == []


def test_the_code_has_what_the_glossary_says_that_it_has():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "laion_assets").rglob("*.py"))
    defined = set(
        re.findall(r"^ *(?:class|def) (\w+)|^ *(\w+)(?:: [^=\n]+)? = |column\(\s*\"(\w+)\"", code, re.MULTILINE)
    )
    names = {name for found in defined for name in found} | {*TABLES}
    rows = [row.split(" | ") for row in text_of("docs/glossary.md").splitlines() if row.startswith("| **")]
    assert len(rows) > 50
    said = [name for *_, last in rows for name in re.findall(r"`(\w+)`", last)]
    assert len(said) > 50
    assert [name for name in said if name not in names] == []


def test_every_room_stands_on_the_map():
    page = text_of("ARCHITECTURE.md")
    rooms = [path.parent.name for path in (REPOSITORY / "laion_assets").glob("*/__init__.py")]
    assert [room for room in rooms if f"| `{room}/` |" not in page] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_variables_that_are_named_are_read_by_somebody(name):
    known = settings_in(Settings)
    by_table = {setting.replace("TABLE", table.upper()) for setting in known for table in TABLES}
    groups = {f"LAION_{field.upper()}" for field in Settings.model_fields}
    assert unknown_names(text_of(name)) - {*known} - by_table - groups - GONE == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_calls_of_laion_that_are_shown_are_calls_that_it_takes(name):
    shown = re.sub(r"\\\n\s*", " ", text_of(name))
    for block in re.findall(r"^ *```\n(.*?)^ *```", shown, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            called = re.match(r"[\w./]*\blaion (?!\[OPTIONS\])(.+)", line.strip())
            if called is not None and "[OPTIONS]" not in line:
                words = shlex.split(called[1], comments=True)
                check_call(["laion", *words])


@pytest.mark.parametrize("page", PAGES)
def test_pages_made_from_the_code_are_current(page):
    assert (FOLDER / page).read_text(encoding="utf-8") == PAGES[page](), "python docs/generate.py writes it again"


def test_the_reference_has_every_setting_and_every_command():
    settings = text_of("docs/reference/settings.md")
    assert [name for name in settings_in(Settings) if f"| `{name}` |" not in settings] == []
    commands = text_of("docs/reference/commands.md")
    registered = [c.name or c.callback.__name__ for c in app.registered_commands]
    assert [name for name in registered if f"## `laion {name}`" not in commands] == []


def test_the_site_is_built_without_a_warning(tmp_path):
    program = str(Path(sys.executable).with_name("mkdocs"))
    command = [program, "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pages = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "design/architecture.html", "reference/settings.html"} <= pages
    for page in pages:
        fetched = re.findall(r'(?:src|<link[^>]*href)="(https?://[^"]+)"', (tmp_path / "site" / page).read_text())
        assert fetched == [], page


def test_continuous_integration_runs_the_parts_of_the_script():
    [steps] = [job["steps"] for job in yaml.safe_load(text_of(".github/workflows/ci.yml"))["jobs"].values()]
    asked = {match for step in steps for match in re.findall(r"make (\w+(?: TIER=\w+)?)", step.get("run", ""))}
    assert asked == set(re.findall(r"^make (\w+(?: TIER=\w+)?)", text_of(".ci/run"), re.MULTILINE))


def test_hooks_before_a_commit_run_what_is_installed():
    [local] = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    assert {hook["entry"].split()[0] for hook in local["hooks"]} <= {
        f".venv/bin/{name}" for name in ("ruff", "mypy", "lint-imports", "python")
    }


def test_a_report_of_a_fault_asks_what_the_doctor_says():
    form = yaml.safe_load(text_of(".github/ISSUE_TEMPLATE/bug.yml"))
    [asked] = [field for field in form["body"] if "laion doctor --json" in field["attributes"]["label"]]
    assert asked["validations"]["required"]


def test_the_version_is_the_same_wherever_it_stands():
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    assert yaml.safe_load(text_of("CITATION.cff"))["version"] == version
    assert f"## [{version}]" in text_of("CHANGELOG.md")
