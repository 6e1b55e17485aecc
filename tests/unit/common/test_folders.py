"""Folders of the user are where the specification, and every earlier version of this, has them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from laion_assets.common.folders import user_cache, user_state
from laion_assets.delta.bucket import BucketStorage


@pytest.mark.parametrize(
    ("folder", "variable", "below_home"),
    [(user_cache, "XDG_CACHE_HOME", ".cache"), (user_state, "XDG_STATE_HOME", ".local/state")],
)
def test_they_are_where_the_environment_says_or_below_home(
    folder: Callable[[], Path], variable: str, below_home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv(variable, raising=False)
    assert folder() == Path("/home/somebody") / below_home / "laion-lakehouse"
    monkeypatch.setenv(variable, "")
    assert folder() == Path("/home/somebody") / below_home / "laion-lakehouse"
    monkeypatch.setenv(variable, "/elsewhere")
    assert folder() == Path("/elsewhere/laion-lakehouse")


def test_without_a_home_it_is_said_and_no_folder_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(RuntimeError):
        user_cache()


def test_work_on_a_bucket_is_in_the_cache_or_in_the_temporary_folder_where_none_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAION_SCRATCH", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert BucketStorage("s3://bucket/lake").scratch == tmp_path / "cache" / "laion-lakehouse" / "5746bde05df12a01"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert BucketStorage("s3://bucket/lake").scratch == tmp_path / "temporary" / "laion-lakehouse" / "5746bde05df12a01"
