"""The card beside published weights: how to load them, what they are made from, what they scored."""

import json

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


def test_a_card_does_not_say_where_its_maker_s_files_lie(tmp_path):
    made = recipe(write_config(tmp_path / "configs"))
    write_model_card(tmp_path, made, [RECORD], {}, 64, "{}")
    assert str(tmp_path) not in (tmp_path / CARD).read_text()
