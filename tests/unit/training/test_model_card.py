"""The card beside published weights: how to load them, what they are made from, what they scored."""

import json
from pathlib import Path

import huggingface_hub
import open_clip
import torch
from safetensors.torch import load_file

from laion_assets.clip.weights import write_weights
from laion_assets.training.checkpoint import config_json
from laion_assets.training.driver import EpochRecord
from laion_assets.training.model_card import CARD, SCORES, add_scores, write_model_card
from tests.unit.training.tiny import MODEL, recipe, write_config

RECORD = EpochRecord(
    epoch=1, weights="epoch-1.safetensors", weights_sha256="ab" * 32, state_sha256="cd" * 32, steps=4, samples_seen=64,
    loss=2.5, learning_rate=1e-3, logit_scale=14.2, samples_per_second=100.0, wall_seconds=1.0, finished_at=1.0,
    resumed_from=None,
)  # fmt: skip


def test_a_card_names_model_data_and_terms_and_takes_scores_as_they_come(tmp_path):
    made = recipe(write_config(tmp_path / "configs"), description="For a test.")
    folder = tmp_path / "weights"
    folder.mkdir()
    write_model_card(folder, made, [RECORD], {"images": 7}, 64, '{"embed_dim": 16}')
    card = (folder / CARD).read_text()
    for words in ("For a test.", f'"{MODEL}", pretrained="epoch-1.safetensors"', "| `images` | 7 |", "## Licence",
                  "Not measured yet", "samples_seen: 64", "add_model_config"):  # fmt: skip
        assert words in card
    assert json.loads((folder / f"{MODEL}.json").read_text()) == {"embed_dim": 16}

    add_scores(folder, "zero_shot_scores", [{"epoch": 1, "benchmark": "a", "top1": 0.5, "precision": "fp32"}])
    add_scores(folder, "zero_shot_scores", [{"epoch": 1, "benchmark": "b", "top1": 0.25}])
    add_scores(folder, "zero_shot_scores", [{"epoch": 1, "benchmark": "a", "top1": 0.75}])
    scored = (folder / CARD).read_text()
    assert "Not measured yet" not in scored
    assert "| zero_shot_scores / epoch 1 / a | top1 0.7500 |" in scored
    assert "| zero_shot_scores / epoch 1 / b | top1 0.2500 |" in scored
    assert "0.5000" not in scored
    assert [part.splitlines()[0] for part in scored.split("\n## ")[1:]] == ["Scores", "Data", "Licence", "Recipe"]
    assert json.loads((folder / SCORES).read_text())["zero_shot_scores / epoch 1 / a"] == {"top1": 0.75}


def test_a_card_says_where_nobody_looked_for_copies(tmp_path):
    made = recipe(write_config(tmp_path / "configs"), decontamination=None)
    write_model_card(tmp_path, made, [RECORD], {}, 64, "{}")
    card = (tmp_path / CARD).read_text()
    assert "copies of evaluation pictures were not looked for" in card
    assert "left out" not in card


def test_open_clip_loads_the_folder_as_it_is_with_the_weights_of_the_last_epoch(tmp_path):
    made = recipe(write_config(tmp_path / "configs"))
    open_clip.add_model_config(Path(made.model_configs or ""))
    folder = tmp_path / "published"
    torch.manual_seed(0)
    for name in ("epoch-9.safetensors", "open_clip_model.safetensors", "epoch-10.safetensors"):
        write_weights(open_clip.create_model(MODEL).state_dict(), folder / name)
    preprocess = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "squash"}
    write_model_card(folder, made, [RECORD], {}, 64, config_json(MODEL), preprocess)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    stored = load_file(folder / "open_clip_model.safetensors")
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    assert (model.visual.preprocess_cfg["mean"], model.visual.image_size) == ([0.1, 0.2, 0.3], (16, 16))
    assert "std=[0.4, 0.5, 0.6]" in str(transform)
    assert open_clip.get_tokenizer(f"local-dir:{folder}")(["a caption"]).shape == (1, 8)


def test_the_hub_reads_what_a_card_says_of_its_model(tmp_path):
    write_model_card(tmp_path, recipe(write_config(tmp_path / "configs")), [RECORD], {}, 64, "{}")
    for epoch, top1 in ((2, 0.75), (1, 0.5), (10, 0.875)):
        add_scores(tmp_path, "zero_shot_scores", [{"epoch": epoch, "benchmark": "a", "top1": top1}])
    add_scores(tmp_path, "retrieval_scores", [{"epoch": 10, "benchmark": "a", "image_recall_at_1": 0.25}])
    data = huggingface_hub.ModelCard.load(tmp_path / CARD).data
    assert (data.license, data.library_name) == ("other", "open_clip")
    assert data.pipeline_tag == "zero-shot-image-classification"
    assert {"clip", "open_clip"} <= set(data.tags)
    assert data.datasets == ["scored_pairs"]
    assert (tmp_path / CARD).read_text().startswith("---\n")
    assert data.model_name == recipe(write_config(tmp_path / "configs")).name
    told = [(r.task_type, r.dataset_name, r.metric_type, r.metric_value) for r in data.eval_results]
    assert told == [
        ("image-text-retrieval", "a", "image_recall_at_1", 0.25),
        ("zero-shot-image-classification", "a", "top1", 0.875),
    ]


def test_a_card_that_somebody_wrote_anew_keeps_its_words(tmp_path):
    (tmp_path / CARD).write_text("# Mine\n\n--- no front matter\n\n## Scores\n\nnone\n\n## Rest\n")
    add_scores(tmp_path, "zero_shot_scores", [{"epoch": 1, "benchmark": "a", "top1": 0.5}])
    card = (tmp_path / CARD).read_text()
    assert card.startswith("# Mine\n\n--- no front matter\n\n## Scores\n\n| what | score |")
    assert card.endswith("\n## Rest\n")


def test_nothing_that_is_published_says_where_its_maker_s_files_lie(tmp_path):
    made = recipe(write_config(tmp_path / "configs"))
    folder = tmp_path / "published"
    folder.mkdir()
    write_model_card(folder, made, [RECORD], {}, 64, config_json_of(tmp_path / "configs"))
    add_scores(folder, "zero_shot_scores", [{"epoch": 1, "benchmark": "a", "top1": 0.5}])
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [CARD, "open_clip_config.json", SCORES, f"{MODEL}.json"]
    assert [file.name for file in files if str(tmp_path) in file.read_text()] == []


def config_json_of(configs: Path) -> str:
    open_clip.add_model_config(configs)
    return config_json(MODEL)
