"""``laion doctor``: every line says what is there, and what to do where it is not; nothing ends in a stack trace."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from laion_assets.cli.doctor import checks as doctor_checks
from laion_assets.cli.doctor.encoder import EncoderCheck
from laion_assets.cli.doctor.findings import Check, Finding, answer, ok
from laion_assets.cli.main import app
from laion_assets.clip.options import EncoderOptions
from laion_assets.delta.folder import FolderStorage
from laion_assets.lake.opening import open_lake
from tests.integration import foreign
from tests.integration.conftest import serving
from tests.pipeline.conftest import encoder, free_port

__all__ = ["encoder"]

Found = dict[str, list[dict[str, str]]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a source and a lake, and an environment that names them."""
    for name in [name for name in os.environ if name.startswith(("LAION_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    foreign.write(tmp_path / "source", "CC-MAIN-2025-13", [[]])
    open_lake(str(tmp_path / "lake"))
    monkeypatch.setenv("LAION_SOURCE", "source")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def doctor(place: Path) -> Callable[..., tuple[int, Found]]:
    """Exit code and findings by name."""

    def call(*arguments: str) -> tuple[int, Found]:
        ran = CliRunner().invoke(app, ["doctor", "--quick", "--json", *arguments])
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
        told = json.loads(ran.stdout)
        assert told["ok"] == (ran.exit_code == 0)
        found: Found = {}
        for finding in told["findings"]:
            found.setdefault(finding["name"], []).append(finding)
        return ran.exit_code, found

    return call


def levels(found: Found) -> dict[str, set[str]]:
    return {name: {finding["level"] for finding in findings} for name, findings in found.items()}


@pytest.mark.parametrize("address", ["http://reader:secret@127.0.0.1:{}/x", "http://127.0.0.1:{}/x?sig=secret"])
def test_credentials_of_the_source_are_not_shown(
    address: str, doctor: Callable[..., tuple[int, Found]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("LAION_SOURCE", address.format(port))
    code, found = doctor()
    assert (code, found["source"][0]["level"]) == (1, "fail")
    assert f"LAION_SOURCE=http://127.0.0.1:{port}/x" in found["settings"][0]["text"]
    assert "secret" not in json.dumps(found)


def test_where_all_is_well_nothing_fails(doctor: Callable[..., tuple[int, Found]], place: Path) -> None:
    code, found = doctor()
    assert code == 0
    names = {"python", "packages", "settings", "lake", "writing", "disk", "source", "clock", "models", "recipes",
             "dagster", "daemon", "pools", "alerts", "memory"}  # fmt: skip
    assert set(found) == names
    assert all("fail" not in level for level in levels(found).values())
    assert "4 shards, 4 buckets" in found["lake"][0]["text"]
    assert "CC-MAIN-2025-13" in found["source"][0]["text"]
    assert "network 2" in found["pools"][0]["text"]
    assert "gpu 1" in found["pools"][0]["text"]
    assert not list((place / "lake").glob(".doctor*"))


def test_lines_for_people_say_the_same_and_fit_the_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LAION_WEATHER", "3")
    ran = CliRunner().invoke(app, ["doctor", "--quick"])
    assert ran.exit_code == 0
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "LAION_WEATHER is no setting" in ran.stdout
    assert "→ correct its name" in ran.stdout
    assert " 0 failed" in ran.stdout


def test_every_wrong_setting_is_named(
    doctor: Callable[..., tuple[int, Found]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAION_SHARDS", "abc")
    monkeypatch.setenv("LAION_DOWNLOAD__THREADS", "0")
    monkeypatch.setenv("LAION_BUKETS", "3")
    code, found = doctor()
    assert code == 1
    texts = " ".join(finding["text"] for finding in found["settings"])
    for name in ("LAION_SHARDS", "LAION_DOWNLOAD", "LAION_BUKETS"):
        assert name in texts
    assert "lake" not in found


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("lake", {"LAION_SHARDS": "7"}, "LAION_SHARDS=4"),
        ("source", {"LAION_SOURCE": "nowhere"}, "does not exist"),
        ("source", {"LAION_SOURCE": "http://127.0.0.1:{closed}/"}, "Connection refused"),
        ("models", {"LAION_MODELS": "broken"}, "nothing_of_the_kind"),
        ("recipes", {"LAION_RECIPES": "broken"}, "recipe.yaml"),
        ("writing", {"LAION_LAKE": "source/collinfo.json/lake"}, "not writable"),
        ("dagster", {"DAGSTER_HOME": "source/collinfo.json"}, "collinfo.json"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_rest_is_looked_at(
    doctor: Callable[..., tuple[int, Found]],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    settings: dict[str, str],
    text: str,
) -> None:
    model = place / "broken" / "models" / "marts" / "wrong.sql"
    model.parent.mkdir(parents=True)
    model.write_text(
        "/*\nmaterialized: view\ndescription: A model.\n*/\nSELECT nothing_of_the_kind FROM {{ source('images') }}"
    )
    (place / "broken" / "recipe.yaml").write_text("name: [")
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value.format(closed=free_port()))
    code, found = doctor("--only", name, "--only", "disk")
    assert code == 1
    assert [f["level"] for f in found[name]] == ["fail"]
    assert text in found[name][0]["text"]
    assert "\n" not in found[name][0]["text"]
    assert levels(found)["disk"] <= {"ok", "warn"}


class Careless(FolderStorage):
    """What a store does that ignores conditions."""

    def create(self, name: str, content: bytes) -> bool:
        self.replace(name, content)
        return True


def test_a_store_that_ignores_conditions_fails(
    doctor: Callable[..., tuple[int, Found]], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_checks, "open_storage", lambda uri: Careless(Path(uri).resolve()))
    code, found = doctor("--only", "writing")
    assert code == 1
    [finding] = found["writing"]
    assert (finding["level"], "If-None-Match" in finding["advice"]) == ("fail", True)
    assert not list((place / "lake").glob(".doctor*"))


@pytest.mark.parametrize(("seconds", "level"), [(0, "ok"), (-120, "warn"), (3_600, "fail"), (-3_600, "fail")])
def test_the_clock_is_compared_with_the_source(
    doctor: Callable[..., tuple[int, Found]], monkeypatch: pytest.MonkeyPatch, seconds: int, level: str
) -> None:
    class Skewed(BaseHTTPRequestHandler):
        """A source whose clock is so far behind."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)

        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Skewed) as port:
        monkeypatch.setenv("LAION_SOURCE", f"http://127.0.0.1:{port}")
        code, found = doctor("--only", "clock")
    assert [f["level"] for f in found["clock"]] == [level]
    assert code == (level == "fail")
    if seconds:
        assert ("ahead of" if seconds > 0 else "behind") in found["clock"][0]["text"]


def test_a_check_that_hangs_is_a_finding_in_time() -> None:
    def hang() -> Iterator[Finding]:
        yield ok("slow", "this far")
        time.sleep(60)

    begun = time.monotonic()
    [found] = answer(Check("slow", hang, 0.2))
    assert time.monotonic() - begun < 5
    assert (found.level, found.text) == ("fail", "no answer within 0 s")


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("two\nlines")
        yield

    assert answer(Check("odd", broken)) == [Finding("odd", "fail", "two lines")]


def test_the_encoder_loads_in_a_child_and_gives_unit_vectors(encoder: EncoderOptions, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    lost = EncoderOptions(model=encoder.model, pretrained=str(broken), model_configs=encoder.model_configs)
    gone = EncoderOptions(model=encoder.model, pretrained="gone/weights.pt", model_configs=encoder.model_configs)
    found = list(EncoderCheck([encoder, lost, gone]).findings())
    assert found[0].name == "gpu"
    about = [finding for finding in found if finding.name == "encoder"]
    assert [finding.level for finding in about] == ["ok", "fail", "fail"]
    assert "64 dimensions" in about[0].text
    assert "gone/weights.pt" in about[2].text
