"""``laion settings``: values, where they came from, what they make stale, and no secrets."""

import json
import os

import pytest
from typer.testing import CliRunner

from laion_assets.cli.main import app
from laion_assets.cli.settings import makes_stale
from laion_assets.lake.opening import open_lake
from laion_assets.setting_names import settings_in
from laion_assets.settings import Settings, write_lake_settings

SECRETS = {
    "LAION_ALERTS__WEBHOOK": "https://hooks.example.org/services/T0/B0/hidden",
    "LAION_ALERTS__SMTP_PASSWORD": "hidden",
    "LAION_ALERTS__SMTP_USER": "mailer",
    "LAION_SOURCE": "https://somebody:hidden@example.org/crawls",
}


@pytest.fixture(autouse=True)
def lake(monkeypatch, tmp_path):
    """A lake of its own settings, which the environment names."""
    for name in os.environ:
        if name.startswith("LAION_"):
            monkeypatch.delenv(name)
    place = tmp_path / "lake"
    open_lake(str(place), shards=3, buckets=7)
    write_lake_settings(str(place), {"LAION_FILTER__POLICY": "none", "LAION_DOWNLOAD__THREADS": "7"})
    monkeypatch.setenv("LAION_LAKE", str(place))
    monkeypatch.setenv("COLUMNS", "200")
    return place


def told(*arguments):
    ran = CliRunner().invoke(app, ["settings", *arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    return {setting["name"]: setting for setting in json.loads(ran.stdout)["settings"]}


def test_every_setting_says_where_its_value_came_from(monkeypatch):
    monkeypatch.setenv("LAION_DOWNLOAD__THREADS", "9")
    monkeypatch.setenv("LAION_RETRIES", '{"times": 1}')
    monkeypatch.setenv("LAION_LIMITS__IMAGES__MEMORY_GIB", "16")
    found = told()
    assert {name: (found[name]["value"], found[name]["from"]) for name in (
        "LAION_DOWNLOAD__THREADS", "LAION_RETRIES__TIMES", "LAION_RETRIES__SECONDS", "LAION_FILTER__POLICY",
        "LAION_SHARDS", "LAION_LIMITS__TABLE__MEMORY_GIB", "LAION_LIMITS__TABLE__GPUS",
    )} == {
        "LAION_DOWNLOAD__THREADS": (9, "environment"),
        "LAION_RETRIES__TIMES": (1, "environment"),
        "LAION_RETRIES__SECONDS": (10.0, "default"),
        "LAION_FILTER__POLICY": ("none", "settings.env"),
        "LAION_SHARDS": (3, "lake.json"),
        "LAION_LIMITS__TABLE__MEMORY_GIB": ({"images": 16.0}, "environment"),
        "LAION_LIMITS__TABLE__GPUS": (None, "default"),
    }  # fmt: skip


def test_a_setting_says_which_tables_it_makes_stale():
    found = told()
    assert found["LAION_FILTER__POLICY"]["stale"] == ["filtered_pairs"]
    assert found["LAION_ENCODER__MODEL"]["stale"] == ["clip_embeddings", "calibrations"]
    assert found["LAION_DOWNLOAD__THREADS"]["stale"] == []
    assert found["LAION_ENCODER__BATCH_SIZE"]["stale"] == found["LAION_EVALUATION__DEVICE"]["stale"] == []
    assert found["LAION_EVALUATION__ALL_EPOCHS"]["stale"] == ["zero_shot_scores", "retrieval_scores"]


OTHER = {"policy": "none", "model": "RN50", "pretrained": "openai", "precision": "fp32", "picture_domain": "another",
         "device": "cuda", "model_configs": "elsewhere"}  # fmt: skip
GROUPS = (
    "extraction",
    "download",
    "encoder",
    "multilingual_encoder",
    "calibration",
    "filter",
    "training",
    "evaluation",
)
TRIED = [
    s for s in settings_in(Settings).values() if s.path[0] in GROUPS and s.kind != "list" and s.path[-1] != "pairs"
]


def changed(setting):
    """Another value that a setting may have."""
    if setting.path[-1] in OTHER:
        value = OTHER[setting.path[-1]]
        return "amp_bf16" if value == setting.default else value
    if setting.kind == "true or false":
        return not setting.default
    if "number" in setting.kind:
        whole = setting.kind == "whole number"
        return (setting.default or 0) + 1 if whole else 0.5 if setting.path[-1] == "keep" else 1
    return {"resize_mode": "border", "encode_format": "webp"}.get(setting.path[-1], "another")


@pytest.mark.parametrize("setting", TRIED, ids=lambda setting: setting.name)
def test_what_is_said_to_become_stale_is_what_a_changed_value_makes_stale(lake, setting):
    def digests(**changes):
        settings = Settings(_env_file=None, lake=str(lake), **{"multilingual_encoder": {}, **changes})
        tables = settings.expectations("r").keys() - {"training_sets", "clip_checkpoints"}
        return {table: settings.expectation(table, {}, "r") for table in tables}

    before, after = digests(), digests(**{setting.path[0]: {setting.path[1]: changed(setting)}})
    assert {table for table in before if before[table] != after[table]} == {*makes_stale(setting)}


def test_secrets_are_shown_nowhere(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for arguments in ([], ["--json"], *([name] for name in SECRETS)):
        ran = CliRunner().invoke(app, ["settings", *arguments])
        assert ran.exit_code == 0
        assert "hidden" not in ran.output
        assert "somebody" not in ran.output
    assert told()["LAION_ALERTS__WEBHOOK"]["from"] == "environment"


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ("retries", {"LAION_RETRIES__TIMES", "LAION_RETRIES__SECONDS"}),
        ("LAION_RETRIES__T", {"LAION_RETRIES__TIMES"}),
        ("LAION_MODELS", {"LAION_MODELS"}),
    ],
)
def test_a_name_or_its_beginning_chooses(asked, names):
    assert set(told(asked)) == names


def test_one_setting_alone_is_explained():
    ran = CliRunner().invoke(app, ["settings", "LAION_DOWNLOAD__TIMEOUT_SECONDS"])
    assert ran.stdout.splitlines()[:3] == [
        "LAION_DOWNLOAD__TIMEOUT_SECONDS=10.0",
        "from     default",
        "takes    number, in seconds; default 10.0",
    ]
    assert "Longest wait for a name lookup" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "stale    nothing"


def test_a_name_that_begins_no_setting_is_one_line():
    ran = CliRunner().invoke(app, ["settings", "weather"])
    assert "LAION_WEATHER" in str(ran.exception)
    assert len(str(ran.exception).splitlines()) == 1


def test_the_list_has_a_line_for_each_setting():
    ran = CliRunner().invoke(app, ["settings"])
    assert ran.exit_code == 0
    named = {line.split()[0] for line in ran.stdout.splitlines() if line.strip().startswith("LAION_")}
    assert named == set(told())
    assert {f"LAION_{name.upper()}" for name in Settings.model_fields} >= {n for n in named if "__" not in n}


def test_laion_says_its_version():
    ran = CliRunner().invoke(app, ["--version"])
    assert (ran.exit_code, ran.stdout.split()[0]) == (0, "laion")
    assert ran.stdout.split()[1][0].isdigit()


def test_a_shell_completes_commands(monkeypatch):
    monkeypatch.setenv("_LAION_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "laion take")
    monkeypatch.setenv("COMP_CWORD", "1")
    ran = CliRunner().invoke(app, [], prog_name="laion")
    assert ran.stdout.split() == ["takedown", "takedowns"]
