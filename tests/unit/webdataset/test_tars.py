"""What is written is what others read, and what others write is read to its end or refused."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laion_assets.webdataset.reader import TarError, TarReader
from laion_assets.webdataset.samples import pictures_of, read_pictures, read_samples
from laion_assets.webdataset.writer import member, write_samples


@settings(max_examples=100, deadline=None)
@given(name=st.text("-0123456789.abc", min_size=1, max_size=100), content=st.binary(max_size=1100))
def test_members_are_what_tarfile_writes(name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    padded = content + bytes(-len(content) % 512)
    assert member(name, content) == info.tobuf(tarfile.USTAR_FORMAT) + padded


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_pictures_are_found_as_tarfile_finds_them(form, tmp_path):
    names = ["a/000.jpg", "001.JPEG", "002.txt", "003.png", f"{'long' * 23}/{'name' * 23}.webp", "004.gif", "000.jpg"]
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = number * 300, 0.5 if form == tarfile.PAX_FORMAT else 5  # type: ignore[assignment]
            archive.addfile(info, io.BytesIO(bytes(number * 300)))
    with tarfile.open(tmp_path / "a.tar") as archive:
        places = {m.name: (m.offset_data, m.size) for m in archive.getmembers()}
    found = pictures_of(tmp_path / "a.tar")
    assert {key: tuple(place) for key, place in found.items()} == {
        "000": (*places["000.jpg"], "jpg"),
        "001": (*places["001.JPEG"], "jpg"),
        "003": (*places["003.png"], "png"),
        "name" * 23: (*places[names[4]], "webp"),
    }


def test_pictures_are_read_from_a_tar_by_their_keys(tmp_path):
    content = {"000.jpg": b"one", "000.txt": b"text", "001.png": b"two", "002.json": b"{}", "003.webp": b"three"}
    with tarfile.open(tmp_path / "some.tar", "w") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    tar = tmp_path / "some.tar"
    assert read_pictures(tar, ["000", "003"]) == {"000": b"one", "003": b"three"}
    assert read_pictures(tar, ["001", "002", "nothing"]) == {"001": b"two"}
    assert read_pictures(tar, []) == {}
    with pytest.raises(TarError, match="absent"):
        read_pictures(tmp_path / "absent.tar", ["000"])
    (tmp_path / "broken.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(TarError, match="no header of a member at byte 0"):
        read_pictures(tmp_path / "broken.tar", ["000"])


NAMES = ["plain", "ä key", "folders/" * 13 + "deep", "k" * 120, "名"]


def test_samples_are_written_for_every_reader_whatever_their_keys(tmp_path):
    written = [(key, {"png": bytes(number * 300), "cls": b"%d" % number}) for number, key in enumerate(NAMES)]
    write_samples(tmp_path / "a.tar", iter(written))
    assert list(read_samples(tmp_path / "a.tar")) == written
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == [f"{key}.{extension}" for key in NAMES for extension in ("png", "cls")]
    with tarfile.open(tmp_path / "b.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for key, members in written:
            for extension, content in members.items():
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize(
    ("kept", "damaged", "said"),
    [
        (None, 512 * 2 + 3, "no header of a member at byte 1024"),
        (512 * 2 + 100, None, "no header of a member at byte 1024"),
        (512 * 4, None, "no end mark at byte 2048"),
        (512 * 3 + 2, None, "1.txt should end at byte 1540"),
        (0, None, "no end mark at byte 0"),
    ],
)
def test_a_tar_that_is_not_whole_is_never_a_shorter_one(kept, damaged, said, tmp_path):
    write_samples(tmp_path / "a.tar", [("0", {"txt": b"none"}), ("1", {"txt": b"four"})])
    content = bytearray((tmp_path / "a.tar").read_bytes()[:kept])
    if damaged is not None:
        content[damaged] ^= 1
    (tmp_path / "a.tar").write_bytes(content)
    with TarReader(tmp_path / "a.tar") as reader, pytest.raises(TarError, match=said):
        list(reader.members())
