"""One client for one environment, which finds out anew where the environment changed."""

from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ProfileNotFound

from laion_assets.common.s3 import refusal, s3_client, s3_credentials


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[profile lake]\nregion = eu-west-3\naws_access_key_id = ours\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def signer(client: object) -> str:
    return str(client._request_signer._credentials.access_key)  # type: ignore[attr-defined]


def test_the_region_is_the_one_that_every_tool_but_boto3_reads_then_boto3_s_then_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert s3_client().meta.region_name == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert s3_client().meta.region_name == "eu-north-1"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert s3_client().meta.region_name == "eu-central-1"


def test_a_client_is_made_once_for_an_environment_and_anew_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    before = s3_client()
    assert s3_client() is before
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert s3_client().meta.endpoint_url == "http://127.0.0.1:9"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert s3_client() is before


def test_requests_are_signed_with_the_key_of_the_environment() -> None:
    assert signer(s3_client()) == "key"
    assert s3_credentials().get_frozen_credentials().access_key == "key"


def test_a_profile_is_found_with_its_key_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert s3_credentials() is None
    monkeypatch.setenv("AWS_PROFILE", "lake")
    assert s3_credentials().get_frozen_credentials().access_key == "ours"
    assert s3_client().meta.region_name == "eu-west-3"
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ProfileNotFound):
        s3_client()


def test_a_request_is_tried_ten_times() -> None:
    assert s3_client().meta.config.retries == {"mode": "standard", "total_max_attempts": 10}


def test_a_refusal_has_a_code_and_a_status_even_where_the_server_gave_none() -> None:
    whole = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    assert refusal(ClientError(whole, "GetObject")) == ("SlowDown", 503)
    assert refusal(ClientError({}, "GetObject")) == ("", 0)
