"""What every room needs is made once: whoever does it anew finds here where it is done already."""

import re
from pathlib import Path

import pytest

from laion_assets.common.shipped import PACKAGE

_ONCE = {
    "files that appear whole": ("files.py", r"os\.fsync|\.unfinished\b(?!`)"),
    "locks between processes": ("locks.py", r"\bfcntl\b"),
    "children that end with their parent": ("processes.py", r"\bprctl\b|\bpreexec_fn=(?!end_too)"),
    "digests of values": ("digests.py", r"sha256\([^\n]*(?:json\.dumps|repr)\([^\n]*hexdigest|file_digest\("),
    "folders of the user": ("folders.py", r"XDG_\w+_HOME|Path\.home\("),
    "what can pass": ("passing.py", r"socket\.EAI_AGAIN|\"SlowDown\"|\b408\s*,\s*425"),
    "clients for S3": ("s3.py", r"^\s*import boto3\b"),
}


@pytest.mark.parametrize("what", _ONCE)
def test_there_is_one_place_for(what: str) -> None:
    place, marks = _ONCE[what]
    found = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if re.search(marks, file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {Path("common", place).as_posix()}, f"{what}: see laion_assets/common/{place}"
