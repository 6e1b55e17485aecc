import io
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from laion_assets.clip.embed import EMBEDDING_SCHEMA, EmbeddingCounts, embed_tar
from laion_assets.clip.encoder import Encoder, cosine_similarity, load_encoder
from laion_assets.webdataset.reader import TarError
from tests.unit.clip.conftest import picture


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def pairs(*rows: tuple[int, str, str]) -> pl.DataFrame:
    """Pairs from (pair_id, sample key, text)."""
    return pl.DataFrame(
        {
            "pair_id": [row[0] for row in rows],
            "url_id": [int(row[1]) + 100 for row in rows],
            "sha256": [f"digest of {row[1]}" for row in rows],
            "sample_key": [row[1] for row in rows],
            "text": [row[2] for row in rows],
        },
        schema_overrides={"pair_id": pl.Int64, "url_id": pl.Int64},
    )


@pytest.fixture
def tar(tmp_path: Path) -> str:
    members = {}
    for number in (5, 3, 1, 0, 2, 4):  # a downloader writes pictures as they arrive
        members[f"{number:03}.{'jpg' if number % 2 else 'png'}"] = picture(number, form="JPEG" if number % 2 else "PNG")
        members[f"{number:03}.json"] = b"{}"
        members[f"{number:03}.txt"] = b"a caption"
    members["006.jpg"] = b"not a picture"
    return write_tar(tmp_path / "00000.tar", members)


WANTED = pairs(
    (9, "003", "a dog"), (8, "000", "a cat"), (7, "003", "ein Hund"), (6, "005", "dog " * 30), (5, "001", "a cat"),
    (4, "004", "x"), (3, "002", "y"),
)  # fmt: skip


def test_every_pair_gets_the_vectors_of_its_picture_and_its_text(encoder: Encoder, tar: Path):
    counts = EmbeddingCounts()
    rows = pl.concat(embed_tar(encoder, tar, WANTED, counts=counts))
    assert rows.schema == EMBEDDING_SCHEMA
    assert rows["pair_id"].to_list() == [8, 5, 3, 7, 9, 4, 6]  # by sample key, then pair_id
    joined = rows.join(WANTED, on="pair_id", how="inner", maintain_order="left")
    blobs = [picture(int(key), form="JPEG" if int(key) % 2 else "PNG") for key in joined["sample_key"]]
    images, texts = encoder.encode_images(blobs)[0], encoder.encode_texts(joined["text"].to_list())[0]
    np.testing.assert_allclose(np.array(rows["image_embedding"].to_list()), images, atol=1e-3)
    np.testing.assert_allclose(np.array(rows["text_embedding"].to_list()), texts, atol=1e-3)
    np.testing.assert_allclose(rows["similarity"].to_numpy(), cosine_similarity(images, texts), atol=2e-3)
    assert rows.filter("text_truncated")["pair_id"].to_list() == [6]
    assert rows["encoder_sha256"].unique().to_list() == [encoder.sha256]
    assert (rows["url_id"] == joined["url_id_right"]).all()


def test_a_picture_with_several_texts_is_encoded_once(encoder: Encoder, tar: Path):
    counts = EmbeddingCounts()
    list(embed_tar(encoder, tar, WANTED, counts=counts))
    assert (counts.pairs, counts.rows, counts.images, counts.texts_truncated) == (7, 7, 6, 1)
    assert counts.drops == {}


def test_pairs_of_an_undecodable_picture_are_counted_where_they_are_dropped(encoder: Encoder, tar: Path):
    counts = EmbeddingCounts()
    wanted = pl.concat([WANTED, pairs((1, "006", "broken"), (2, "006", "broken too"))])
    rows = pl.concat(embed_tar(encoder, tar, wanted, counts=counts))
    assert rows.height == 7
    assert counts.drops == {"undecodable": 2}
    assert counts.pairs == counts.rows + sum(counts.drops.values())


def test_only_undecodable_pictures_leave_an_empty_frame(encoder: Encoder, tar: Path):
    counts = EmbeddingCounts()
    rows = pl.concat(embed_tar(encoder, tar, pairs((1, "006", "broken")), counts=counts))
    assert (rows.height, rows.schema, counts.drops) == (0, EMBEDDING_SCHEMA, {"undecodable": 1})


def test_again_gives_the_same_bits_whatever_the_order_of_the_pairs(encoder: Encoder, tar: Path):
    once = pl.concat(embed_tar(encoder, tar, WANTED, counts=EmbeddingCounts()))
    again = pl.concat(embed_tar(encoder, tar, WANTED.reverse(), counts=EmbeddingCounts()))
    assert once.equals(again)


def test_another_batch_size_changes_no_vector_noticeably(encoder: Encoder, options, tar: Path):
    once = pl.concat(embed_tar(encoder, tar, WANTED, counts=EmbeddingCounts()))
    other = pl.concat(embed_tar(load_encoder(options(batch_size=1)), tar, WANTED, counts=EmbeddingCounts()))
    for column in ("image_embedding", "text_embedding"):
        left, right = (np.array(frame[column].to_list(), np.float32) for frame in (once, other))
        assert cosine_similarity(left, right).min() > 0.9999


def test_no_pairs_no_rows(encoder: Encoder):
    assert list(embed_tar(encoder, Path("/nowhere.tar"), WANTED.clear(), counts=EmbeddingCounts())) == []


def test_a_tar_that_lacks_a_picture_is_an_error_that_names_both(encoder: Encoder, tar: Path):
    with pytest.raises(TarError, match=r"00000\.tar lacks the pictures of 1 of 1 sample keys, 777"):
        list(embed_tar(encoder, tar, pairs((1, "777", "a")), counts=EmbeddingCounts()))


def test_a_tar_cut_short_is_an_error_that_names_it(encoder: Encoder, tar: Path, tmp_path: Path):
    content = tar.read_bytes()
    for length in (len(content) // 2, 700, 10):
        short = tmp_path / "short.tar"
        short.write_bytes(content[:length])
        with pytest.raises(TarError, match=r"short\.tar"):
            list(embed_tar(encoder, short, WANTED, counts=EmbeddingCounts()))
    with pytest.raises(TarError, match="cannot be read"):
        list(embed_tar(encoder, tmp_path / "none.tar", WANTED, counts=EmbeddingCounts()))
