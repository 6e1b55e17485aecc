"""What is released is read by the field's own tools, each pair to the last byte."""

import io
import json
import logging
import sys
from argparse import Namespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from laion_assets.release.formats.clip_retrieval import encoder_folder
from tests.integration.release.made_parts import ENCODERS, REPLACED, Made

pytestmark = pytest.mark.usefixtures("offline")


def texts_of(made: Made) -> dict[int, tuple[str, str]]:
    return {row["pair_id"]: (row["url"], row["text"]) for row in made.rows.iter_rows(named=True)}


def test_laion_s_columns_have_laion_s_names_and_types(made):
    """As the cards of laion2B-en and laion2B-multi have them."""
    expected = {
        "URL": "string", "TEXT": "string", "WIDTH": "int32", "HEIGHT": "int32", "similarity": "double",
        "LANGUAGE": "string", "hash": "int64", "punsafe": "float", "pwatermark": "float", "AESTHETIC_SCORE": "float",
    }  # fmt: skip
    files = sorted(made.folder.glob("data/*/*.parquet"))
    assert {file.parent.name for file in files} == {"en", "multi", "nolang"}
    for file in files:
        schema = pq.read_schema(file)
        assert {field.name: str(field.type) for field in schema if field.name in expected} == expected
        assert set(pl.read_parquet(file)["subset"]) == {file.parent.name}
    listed = pl.concat(map(pl.read_parquet, files)).join(made.rows, on="pair_id", suffix="_made")
    assert listed.height == made.rows.height
    same = {"URL": "url", "TEXT": "text", "WIDTH": "original_width", "HEIGHT": "original_height", "hash": "pair_id",
            "similarity": "similarity_made", "license": "license_made", "sha256": "sha256_made"}  # fmt: skip
    for ours, made_of in same.items():
        assert listed[ours].equals(listed[made_of]), ours
    assert not {"sample_key", "shard_path", "exif", "bucket"} & set(pq.read_schema(files[0]).names)


def test_datasets_loads_the_folder_plain_and_streaming_and_by_language_group(made, tmp_path):
    from datasets import load_dataset

    expected = texts_of(made)
    for name, wanted in (("all", None), ("en", "en"), ("nolang", "nolang")):
        rows = made.rows if wanted is None else made.rows.filter(subset=wanted)
        arguments = {"name": None if name == "all" else name, "split": "train"}
        plain = load_dataset(str(made.folder), **arguments, cache_dir=str(tmp_path))
        streamed = load_dataset(str(made.folder), **arguments, streaming=True)
        for found in (list(plain), list(streamed)):
            assert {row["pair_id"]: (row["URL"], row["TEXT"]) for row in found} == {
                key: expected[key] for key in rows["pair_id"]
            }
        assert plain.features["WIDTH"].dtype == "int32"
        assert plain.features["similarity"].dtype == "float64"


def test_the_card_has_what_the_hub_reads_and_what_people_ask(made):
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(made.folder / "README.md")
    data = card.data
    assert (data.license, data.pretty_name, data.language) == ("cc-by-4.0", "tiny-pairs", ["en", "ja"])
    assert (data.size_categories, data.annotations_creators) == (["n<1K"], ["machine-generated"])
    assert [config["config_name"] for config in data.to_dict()["configs"]] == ["all", "en", "multi", "nolang"]
    for words in (
        "40 pairs", "| ja | 13 |", "removals@example.org", "removals.jsonl", "## Known biases", "## Limits",
        "text too short \\| odd | 5", f"| `ViT-B-32/laion2b` | `{'ab' * 32}` | fp32 | resize 224, crop |",
        "| en | `ViT-B-32/laion2b` | 0.2500 | as LAION published it |", "similarity > 0.2",
        "| `filtered_pairs` | 7 | 2 |", "| `CC-MAIN-2024-10` | 24 | s3://commoncrawl | 2024-02-20 | 2024-03-05 |",
    ):  # fmt: skip
        assert words in card.text, words


def test_webdataset_gives_every_picture_byte_for_byte_with_its_text(made):
    import webdataset

    tars = sorted(map(str, made.folder.glob("webdataset/*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    told = [json.loads(sample["json"]) for sample in samples]
    assert len({sample["__key__"] for sample in samples}) == len(samples) == made.rows.height
    assert {
        fields["pair_id"]: (fields["url"], sample["txt"].decode(), sample.get("jpg") or sample["png"])
        for sample, fields in zip(samples, told, strict=True)
    } == {pair: (*both, made.pictures[pair]) for pair, both in texts_of(made).items()}
    assert all(fields["caption"] == sample["txt"].decode() for sample, fields in zip(samples, told, strict=True))
    licences = dict(made.rows.select("pair_id", "license").iter_rows())
    assert {fields["pair_id"]: fields.get("license") for fields in told} == licences
    assert all(fields["key"] == sample["__key__"] for sample, fields in zip(samples, told, strict=True))


def test_a_tar_s_parquet_and_statistics_say_what_is_in_it(made):
    for tar in made.folder.glob("webdataset/*.tar"):
        beside = pl.read_parquet(tar.with_suffix(".parquet"))
        statistics = json.loads(tar.with_name(f"{tar.stem}_stats.json").read_text())
        assert statistics["count"] == statistics["successes"] == statistics["status_dict"]["success"] == beside.height
        assert beside["key"].to_list() == [f"{tar.stem}{number:04d}" for number in range(beside.height)]
        assert beside.columns[:11] == [
            "url", "caption", "key", "status", "error_message", "width", "height", "original_width", "original_height",
            "exif", "sha256",
        ]  # fmt: skip
        assert beside.height <= 10


def test_open_clip_s_own_loader_serves_the_tars(made):
    from open_clip_train.data import get_dataset_size, get_wds_dataset

    tars = sorted(map(str, made.folder.glob("webdataset/*.tar")))
    assert get_dataset_size("::".join(tars)) == (made.rows.height, len(tars))
    arguments = Namespace(
        train_data="::".join(tars), val_data="::".join(tars), train_num_samples=None, val_num_samples=made.rows.height,
        train_data_upsampling_factors=None, dataset_resampled=False, seed=0, batch_size=8, workers=0, world_size=1,
    )  # fmt: skip
    data = get_wds_dataset(arguments, lambda image: image.size[0], is_train=False, tokenizer=lambda text: [text])
    served = sorted(text for _, texts in data.dataloader for text in texts)
    assert served == sorted(made.rows["text"])


def test_datasets_loads_the_tars(made, tmp_path):
    from datasets import load_dataset

    for form, start in (("jpg", b"\xff\xd8"), ("png", b"\x89P")):
        tars = [
            str(path.with_name(f"{path.name.removesuffix('_stats.json')}.tar"))
            for path in sorted(made.folder.glob("webdataset/*_stats.json"))
            if json.loads(path.read_text())["encode_format"] == form
        ]
        found = load_dataset("webdataset", data_files={"train": tars}, split="train", cache_dir=str(tmp_path))
        texts = texts_of(made)
        for row in found:
            url, text = texts[row["json"]["pair_id"]]
            assert (row["txt"], row["json"]["url"], row["json"]["caption"]) == (text, url, text)
            stored = Image.open(io.BytesIO(made.pictures[row["json"]["pair_id"]])).convert("RGB")
            assert np.array_equal(np.asarray(row[form].convert("RGB")), np.asarray(stored))
        assert found.num_rows == sum(content[:2] == start for content in made.pictures.values())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_embedding_reader_pairs_each_vector_with_its_pair(made, encoder):
    from embedding_reader import EmbeddingReader

    sha256, dimensions = ENCODERS[encoder]
    folder = made.folder / "clip-retrieval" / encoder_folder(encoder, sha256)
    expected = made.vectors.filter(encoder=encoder)
    texts = texts_of(made)
    for kind, column in (("img_emb", "image_embedding"), ("text_emb", "text_embedding")):
        reader = EmbeddingReader(
            embeddings_folder=str(folder / kind), metadata_folder=str(folder / "metadata"), file_format="parquet_npy",
            meta_columns=["pair_id", "url", "caption", "image_path"],
        )  # fmt: skip
        assert (reader.dimension, reader.count, reader.byte_per_item) == (dimensions, expected.height, 2 * dimensions)
        found: dict[int, Any] = {}
        for vectors, metadata in reader(batch_size=7, show_progress=False):
            found |= dict(zip(metadata["pair_id"], vectors, strict=True))
            for row in metadata.itertuples():
                assert (row.url, row.caption) == texts[row.pair_id]
        assert set(found) == set(expected["pair_id"])
        for row in expected.iter_rows(named=True):
            assert np.array_equal(found[row["pair_id"]], np.array(row[column], np.float32))
            assert abs(np.linalg.norm(found[row["pair_id"]]) - 1) < 2e-3


def test_mlcroissant_has_no_complaint_and_loads_every_set_of_records(made, caplog):
    import absl.logging
    import mlcroissant

    # It would close the stream that it found as it was imported, which is this test's own, with the logging of others.
    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(jsonld=str(made.folder / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert (set(issues.warnings), set(issues.errors), caplog.messages) == (set(), set(), [])
    loaded = {records.id: list(dataset.records(records.id)) for records in dataset.metadata.record_sets}
    assert set(loaded) == {
        "pairs",
        "samples",
        *(f"vectors-of-{encoder_folder(n, s)}" for n, (s, _) in ENCODERS.items()),
    }
    expected = texts_of(made)
    for name, url, text in (("pairs", "URL", "TEXT"), ("samples", "url", "caption")):
        assert {
            record[f"{name}/pair_id"]: (record[f"{name}/{url}"].decode(), record[f"{name}/{text}"].decode())
            for record in loaded[name]
        } == expected
    for name, (sha256, _) in ENCODERS.items():
        assert len(loaded[f"vectors-of-{encoder_folder(name, sha256)}"]) == made.vectors.filter(encoder=name).height


def test_croissant_says_what_it_was_derived_from_and_by_what(made):
    said = json.loads((made.folder / "croissant.json").read_text())
    for needed in ("description", "license", "name", "url", "creator", "datePublished", "distribution", "version"):
        assert said[needed], needed
    crawl, imported = said["prov:wasDerivedFrom"]
    assert crawl["@id"] == "https://data.commoncrawl.org/crawl-data/CC-MAIN-2024-10/index.html"
    assert imported["prov:label"] == "bought-list"
    assert "filtered_pairs, made by version 2 of its code" in [a["prov:label"] for a in said["prov:wasGeneratedBy"]]
    similarity = next(f for f in said["recordSet"][0]["field"] if f["name"] == "similarity")
    assert {agent["@id"] for agent in similarity["prov:wasAttributedTo"]} == {
        f"urn:sha256:{s}" for s, _ in ENCODERS.values()
    }
    assert "removals@example.org" in said["rai:dataReleaseMaintenancePlan"]


@pytest.mark.slow
def test_img2dataset_downloads_the_list_and_refuses_a_picture_that_was_replaced(made, tmp_path):
    from img2dataset import download

    group = ("en", "multi", "nolang")[REPLACED % 3]
    download(
        url_list=str(made.folder / "data" / group), input_format="parquet", url_col="URL", caption_col="TEXT",
        verify_hash=["sha256", "sha256"], save_additional_columns=["pair_id"], output_folder=str(tmp_path / "out"),
        output_format="webdataset", disable_all_reencoding=True, processes_count=1, thread_count=4,
        number_sample_per_shard=100, retries=0,
    )  # fmt: skip
    found = pl.concat(map(pl.read_parquet, sorted((tmp_path / "out").glob("*.parquet"))))
    texts = texts_of(made)
    assert {row["pair_id"]: (row["url"], row["caption"]) for row in found.iter_rows(named=True)} == {
        pair: texts[pair] for pair in made.rows.filter(subset=group)["pair_id"]
    }
    failed = found.filter(pl.col("status") != "success")
    replaced = made.rows.filter(pl.col("url").str.contains(f"/{REPLACED}.jpg", literal=True))["pair_id"].to_list()
    assert failed["error_message"].unique().to_list() == ["hash mismatch"]
    assert failed["pair_id"].to_list() == replaced
