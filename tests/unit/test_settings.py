"""Settings: where they come from, which goes before which, and what a wrong one is told."""

import os
from pathlib import Path

import pytest

from laion_assets.delta.errors import LakeMismatch
from laion_assets.lake.opening import open_lake
from laion_assets.settings import LAKE_SETTINGS_FILE, Settings, SettingsError, load_settings, write_lake_settings


@pytest.fixture(autouse=True)
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for a lake, named by LAION_LAKE; nothing else is set."""
    for name in os.environ:
        if name.startswith("LAION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    return tmp_path / "lake"


def test_defaults_stand_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("LAION_LAKE")
    monkeypatch.chdir(tmp_path)  # a lake in the working directory would bring its own settings
    settings = load_settings()
    assert (settings.lake, settings.shards, settings.buckets) == ("lake", 4, 4)
    assert settings.wat_files is None
    assert settings.download.allowed_networks == ()
    assert settings.encoders["en"] == settings.encoders["multi"] == settings.encoders["nolang"]


def test_the_environment_sets_nested_options_in_their_types(monkeypatch):
    for name, value in {
        "LAION_SHARDS": "16",
        "LAION_FORMAT": "warc",
        "LAION_DOWNLOAD__TIMEOUT_SECONDS": "2.5",
        "LAION_DOWNLOAD__ALLOWED_NETWORKS": '["127.0.0.0/8", "::1"]',
        "LAION_DOWNLOAD__CA_BUNDLE": "/certificates.pem",
        "LAION_DOWNLOAD__AGENT": "somebody",
        "LAION_FILTER__POLICY": "laion_clean",
        "LAION_FILTER__MIN_BYTES": "0",
        "LAION_DENY__URL_LISTS": '["/a.txt", "/b:c.txt"]',
        "LAION_DENY__DOMAIN_LISTS": "/c.txt:/d e.txt",
        "LAION_DENY__HASH_LISTS": "/f.txt",
        "LAION_EXTRACTION__MIN_TEXT_LENGTH": "1",
        "LAION_MULTILINGUAL_ENCODER__MODEL": "xlm-roberta-base-ViT-B-32",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.shards == 16
    assert settings.format == "warc"
    assert settings.download.timeout_seconds == 2.5
    assert settings.download.allowed_networks == ("127.0.0.0/8", "::1/128")
    assert settings.download.ca_bundle == "/certificates.pem"
    assert settings.download.agent == "somebody"
    assert settings.download.threads == 64
    assert settings.filter.resolve().name == "laion_clean+min_bytes=0"
    assert settings.deny.url_lists == ("/a.txt", "/b:c.txt")
    assert settings.deny.domain_lists == ("/c.txt", "/d e.txt")
    assert settings.deny.hash_lists == ("/f.txt",)
    assert settings.extraction.min_text_length == 1
    assert settings.encoders["multi"].model == settings.encoders["nolang"].model == "xlm-roberta-base-ViT-B-32"
    assert settings.encoders["en"].model == "ViT-B-32"


def test_a_lake_s_own_settings_go_before_defaults_and_after_the_environment(lake, monkeypatch):
    write_lake_settings(
        str(lake), {"LAION_FILTER__POLICY": "none", "LAION_DOWNLOAD__THREADS": "7", "LAION_SOURCE": "/kept"}
    )
    settings = load_settings()
    assert (settings.filter.policy, settings.download.threads, settings.source) == ("none", 7, "/kept")
    monkeypatch.setenv("LAION_DOWNLOAD__THREADS", "9")
    monkeypatch.setenv("LAION_DOWNLOAD__RETRIES", "0")
    settings = load_settings()
    assert (settings.download.threads, settings.download.retries) == (9, 0)
    assert (settings.filter.policy, settings.source) == ("none", "/kept")


@pytest.mark.parametrize(
    "value",
    [
        "/plain",
        " spaces ",
        "\"quotes\" 'others'",
        "back\\slash\\n",
        "# hash",
        "$HOME and ${HOME:-x}",
        "grün/写真 🚀",
        "",
    ],
)
def test_whatever_is_kept_in_a_lake_comes_back_as_it_was(lake, value):
    write_lake_settings(str(lake), {"LAION_SOURCE": value, "LAION_CALIBRATION__PICTURE_DOMAIN": value})
    settings = load_settings()
    assert (settings.source, settings.calibration.picture_domain) == (value, value)


def test_keeping_settings_leaves_one_file(lake):
    for policy in ("none", "laion"):
        write_lake_settings(str(lake), {"LAION_FILTER__POLICY": policy})
    assert [file.name for file in lake.iterdir()] == [LAKE_SETTINGS_FILE]
    assert load_settings().filter.policy == "laion"


def test_an_existing_lake_knows_its_shape(lake, monkeypatch):
    open_lake(str(lake), shards=3, buckets=7)
    settings = load_settings()
    assert (settings.shards, settings.buckets) == (3, 7)
    assert settings.open_lake(create=False).shape["buckets"] == 7
    monkeypatch.setenv("LAION_SHARDS", "5")
    with pytest.raises(LakeMismatch, match="LAION_SHARDS=3"):
        load_settings().open_lake()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LAION_SHARDS", "abc", "integer"),
        ("LAION_SHARDS", "0", "greater than or equal to 1"),
        ("LAION_BUCKETS", "100000", "less than or equal to 10000"),
        ("LAION_WAT_FILES", "-1", "greater than or equal to 1"),
        ("LAION_FORMAT", "wet", "'wat' or 'warc'"),
        ("LAION_DOWNLOAD__THREADS", "many", "integer"),
        ("LAION_DOWNLOAD__THREADS", "0", "threads must lie between 1 and 4096"),
        ("LAION_DOWNLOAD__ENCODE_FORMAT", "tiff", "jpg, png, webp"),
        ("LAION_DOWNLOAD__ALLOWED_NETWORKS", '["10.0.0.1/8"]', r"127\.0\.0\.0/8"),
        ("LAION_DOWNLOAD__ALLOWED_NETWORKS", '["intranet"]', "'intranet'"),
        ("LAION_DOWNLOAD__ALLOWED_NETWORKS", "true", "allowed_networks"),
        ("LAION_DOWNLOAD__ALLOWED_NETWORKS", "[", "allowed_networks: expected a JSON list"),
        ("LAION_DOWNLOAD__ALLOWED_NETWORKS", "[4]", "string"),
        ("LAION_FILTER__POLICY", "strict", "none, laion, laion_clean"),
        ("LAION_FILTER__THRESHOLD_EN", "28", "cosine from -1 to 1"),
        ("LAION_ENCODER__PRECISION", "fp8", "amp_bf16"),
        ("LAION_EXTRACTION__LANGUAGE_FLOOR", "2", r"\[0, 1\]"),
        ("LAION_DENY__URL_LISTS", '["/a.txt"', "JSON list of paths"),
        ("LAION_DOWNLOAD", "fast", "JSON"),
        ("LAION_DOWNLOAD__TIMOUT_SECONDS", "3", "TIMOUT_SECONDS"),
        ("LAION_OWNERS", "team:data, somebody", "team:NAME or an e-mail address, and commas between them"),
        ("LAION_OWNERS", "team:", "'team:'"),
        ("LAION_OWNERS", '["team:data"', "LAION_OWNERS"),
        ("LAION_CODE_URL", "git@example.org:lake", "https"),
    ],
)
@pytest.mark.parametrize("where", ["environment", "lake"])
def test_a_wrong_setting_is_one_line_that_names_it(lake, monkeypatch, where, name, value, said):
    if where == "environment":
        monkeypatch.setenv(name, value)
    else:
        write_lake_settings(str(lake), {name: value})
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings()
    assert name.removesuffix("__TIMOUT_SECONDS").partition("__")[0] in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["team:data, ada@example.org", '["team:data", "ada@example.org"]'])
def test_owners_are_written_as_a_list_of_json_or_with_commas(monkeypatch, value):
    monkeypatch.setenv("LAION_OWNERS", value)
    assert load_settings().owners == ("team:data", "ada@example.org")


@pytest.mark.parametrize("value", ["10.0.0.0/8 fd00::/8", "10.0.0.0/8, fd00::/8", '["10.0.0.0/8", "fd00::/8"]'])
def test_networks_are_written_as_a_list_of_json_or_of_words(monkeypatch, value):
    monkeypatch.setenv("LAION_DOWNLOAD__ALLOWED_NETWORKS", value)
    assert load_settings().download.allowed_networks == ("10.0.0.0/8", "fd00::/8")


def test_an_allowance_of_all_private_addresses_is_no_more(monkeypatch):
    monkeypatch.setenv("LAION_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES", "true")
    with pytest.raises(SettingsError, match=r"LAION_DOWNLOAD__ALLOWED_NETWORKS, \[\"127\.0\.0\.0/8\", \"::1/128\"\]"):
        load_settings()


@pytest.mark.parametrize(("value", "networks"), [("true", ("127.0.0.0/8", "::1/128")), ("false", ())])
def test_a_lake_of_before_that_allowed_private_addresses_opens_with_loopback_alone(lake, caplog, value, networks):
    write_lake_settings(str(lake), {"LAION_DOWNLOAD__ALLOW_PRIVATE_ADDRESSES": value})
    assert load_settings().download.allowed_networks == networks
    assert ("LAION_DOWNLOAD__ALLOWED_NETWORKS" in caplog.text) == (value == "true")


def test_all_wrong_settings_are_named_at_once(monkeypatch):
    monkeypatch.setenv("LAION_SHARDS", "abc")
    monkeypatch.setenv("LAION_FILTER__POLICY", "strict")
    with pytest.raises(SettingsError, match=r"(?=.*LAION_SHARDS)(?=.*LAION_FILTER)"):
        load_settings()


def test_a_misspelt_setting_of_a_lake_is_refused(lake):
    write_lake_settings(str(lake), {"LAION_SHRADS": "4"})
    with pytest.raises(SettingsError, match="LAION_SHRADS"):
        load_settings()


def test_what_shapes_a_table_changes_its_digest_and_no_other(lake):
    def digests(**changes):
        settings = Settings(_env_file=None, lake=str(lake), **changes)
        return {table: (e.settings_digest, e.externals) for table, e in settings.expectations("r").items()}

    def changed(**changes):
        before, after = digests(), digests(**changes)
        return {table for table in before if before[table] != after[table]}

    assert changed(source="/elsewhere", wat_files=3, download={"threads": 5}) == set()
    assert changed(extraction={"min_text_length": 9}) == {"candidate_pairs"}
    assert changed(encoder={"model": "RN50", "pretrained": "openai"}) == {"calibrations", "clip_embeddings"}
    assert changed(encoder={"batch_size": 3}) == set()
    assert changed(filter={"policy": "none"}) == {"filtered_pairs"}
    settings = Settings(_env_file=None, lake=str(lake))
    one, other = settings.expectations("one"), settings.expectations("other")
    assert {t for t in one if one[t] != other[t]} == {"unique_pairs", "images", "filtered_pairs", "training_sets"}
