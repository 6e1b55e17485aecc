"""Names of settings: all have a meaning, and a name that is none is told by what it was meant to be."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.setting_names import letters_apart, settings_in, unknown_names
from laion_assets.settings import Settings as Declared
from laion_assets.settings import SettingsError, _warn_once, load_settings

KNOWN = settings_in(Declared)


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """An environment with nothing of ours in it but a place for a lake."""
    for name in os.environ:
        if name.startswith("LAION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    _warn_once.cache_clear()


def test_every_setting_says_what_it_means_and_what_it_takes():
    assert len(KNOWN) > 100
    assert [name for name, setting in KNOWN.items() if not setting.meaning or not setting.kind] == []


@pytest.mark.parametrize(
    ("name", "kind", "unit", "default"),
    [
        ("LAION_SHARDS", "whole number", "", 4),
        ("LAION_DOWNLOAD__TIMEOUT_SECONDS", "number", "seconds", 10.0),
        ("LAION_DOWNLOAD__MIN_IMAGE_SIZE", "whole number", "pixels", 0),
        ("LAION_FORMAT", "`wat` or `warc`", "", None),
        ("LAION_DENY__URL_LISTS", "list", "", ()),
        ("LAION_MULTILINGUAL_ENCODER__BATCH_SIZE", "whole number", "", 256),
        ("LAION_LIMITS__TABLE__MEMORY_GIB", "number", "GiB", None),
        ("LAION_ALERTS__WEBHOOK", "text, secret", "", None),
    ],
)
def test_type_unit_and_default_are_those_of_the_declaration(name, kind, unit, default):
    setting = KNOWN[name]
    assert (setting.kind, setting.unit, setting.default, setting.secret) == (kind, unit, default, "secret" in kind)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LAION_BUKETS", "LAION_BUCKETS"),
        ("LAION_SHRADS", "LAION_SHARDS"),
        ("laion_lakes", "LAION_LAKE"),
        ("LAION_ALERTS_WEBHOOK", "LAION_ALERTS__WEBHOOK"),
        ("LAION_ALERT__WEBHOOK", "LAION_ALERTS__WEBHOOK"),
    ],
)
def test_a_name_that_can_only_be_meant_as_a_setting_is_an_error(monkeypatch, name, meant):
    monkeypatch.setenv(name, "3")
    with pytest.raises(SettingsError, match=f"^wrong settings: {name} is no setting: did you mean {meant}\\?$"):
        load_settings()


def test_a_name_with_options_is_an_error_even_where_nothing_is_near(monkeypatch):
    monkeypatch.setenv("LAION_WEATHER__WIND__FROM", "3")
    with pytest.raises(SettingsError, match=r"LAION_WEATHER__WIND__FROM is no setting$"):
        load_settings()


def test_a_name_of_which_nobody_knows_is_warned_of_once(monkeypatch, caplog):
    monkeypatch.setenv("LAION_WEATHER", "3")
    monkeypatch.setenv("LAION_BENCHMARK_FOLDER", "3")
    load_settings()
    load_settings()
    said = ["LAION_BENCHMARK_FOLDER is no setting: did you mean LAION_BENCHMARKS?", "LAION_WEATHER is no setting"]
    assert [record.message for record in caplog.records] == said


def test_an_unknown_name_and_a_wrong_value_are_told_together(monkeypatch):
    monkeypatch.setenv("LAION_BUKETS", "3")
    monkeypatch.setenv("LAION_SHARDS", "abc")
    with pytest.raises(SettingsError, match=r"LAION_BUKETS is no setting.*; LAION_SHARDS: .*integer"):
        load_settings()


@pytest.mark.parametrize("name", ["LAION_SCRATCH", "LAION_NO_SKIPS", "LAION_TEST_DATA", "LAION_PARENT"])
def test_what_is_read_beside_the_settings_passes(name):
    assert unknown_names({name: "x"}, Declared) == ([], [])


def test_what_kubernetes_says_of_services_passes():
    injected = {
        "LAION_SERVICE_HOST": "10.0.0.1",
        "LAION_SERVICE_PORT": "80",
        "LAION_SERVICE_PORT_HTTP": "80",
        "LAION_PORT": "tcp://10.0.0.1:80",
        "LAION_PORT_80_TCP": "tcp://10.0.0.1:80",
        "LAION_PORT_80_TCP_PROTO": "tcp",
        "LAION_PORT_80_TCP_ADDR": "10.0.0.1",
        "LAION_DAGSTER_WEBSERVER_SERVICE_HOST": "10.0.0.2",
        "LAION_DAGSTER_WEBSERVER_PORT": "tcp://10.0.0.2:3000",
        "LAION_DAGSTER_USER_DEPLOYMENTS_LAION_PORT_4000_TCP_PORT": "4000",
    }
    assert unknown_names(injected, Declared) == ([], [])


def test_a_port_that_no_service_has_does_not_pass():
    _, warnings = unknown_names({"LAION_SMTP_PORT": "465"}, Declared)
    assert warnings == ["LAION_SMTP_PORT is no setting: did you mean LAION_ALERTS__SMTP_PORT?"]


def test_every_setting_is_known_in_any_letters_and_so_are_groups_of_them():
    named = {name.replace("TABLE", "IMAGES"): "1" for name in KNOWN} | {name.lower(): "1" for name in KNOWN}
    assert unknown_names({**named, "LAION_DOWNLOAD": "{}", "LAION_GPU_NODES__A": "b"}, Declared) == ([], [])


@given(word=st.text("ABC_", max_size=8), place=st.integers(0, 8), letter=st.sampled_from("ABC_"))
def test_a_letter_that_is_put_in_is_one_letter_apart_either_way(word, place, letter):
    longer = word[:place] + letter + word[place:]
    assert letters_apart(word, longer) == letters_apart(longer, word) == 1
    assert letters_apart(word, word) == 0
    assert letters_apart(word, "") == len(word)
