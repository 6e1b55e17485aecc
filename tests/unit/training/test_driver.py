"""The driver of open_clip_train against the real program: kills, faults of data and weights, several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from laion_assets.training.checkpoint import CheckpointError, gmacs_per_sample, open_model, read_state
from laion_assets.training.compute import ComputeOptions, PlacementError, place
from laion_assets.training.driver import TrainingFailed
from laion_assets.training.recipe import Recipe
from tests.unit.training.tiny import MODEL, SAMPLES, recipe, training, write_config, write_shards

pytestmark = pytest.mark.integration


@pytest.fixture
def configs(tmp_path: Path) -> str:
    return write_config(tmp_path / "configs")


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return write_shards(tmp_path / "shards")


@dataclass(frozen=True)
class Trained:
    """A training of four epochs that is done: what it was made from, and the folder of its work and output."""

    configs: str
    shards: list[Path]
    folder: Path

    @property
    def recipe(self) -> Recipe:
        return recipe(self.configs, samples_seen=8 * SAMPLES, epochs=4)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("four epochs")
    made = Trained(write_config(folder / "configs"), write_shards(folder / "shards"), folder / "training")
    training(made.folder, made.recipe, made.shards).run()
    return made


@pytest.fixture
def trained(done: Trained, tmp_path: Path) -> Trained:
    """A copy of that training, to be broken."""
    shutil.copytree(done.folder, tmp_path / "training")
    return Trained(done.configs, done.shards, tmp_path / "training")


def test_a_training_from_beginning_to_end(tmp_path, configs, shards):
    said: list[str] = []
    seen: list[int] = []
    resumed: list[str] = []
    run = training(tmp_path, recipe(configs), shards, say=said.append, resumed=resumed.append)
    records = type(run)(**{**run.__dict__, "progress": seen.append}).run()
    assert [(r.epoch, r.steps, r.samples_seen, r.resumed_from) for r in records] == [
        (1, 2, 2 * SAMPLES, None),
        (2, 4, 4 * SAMPLES, None),
    ]
    assert sum(seen) == 4 * SAMPLES
    assert any("loss" in line and "learning rate" in line and "samples/s" in line for line in said)
    # Plain open_clip reads what is published.
    open_clip.add_model_config(Path(configs))
    weights = run.output / records[-1].weights
    model, _, _ = open_clip.create_model_and_transforms(MODEL, pretrained=str(weights))
    assert all(torch.equal(value, load_file(weights)[name]) for name, value in model.state_dict().items())
    assert [r.weights for r in records] == ["epoch-1.safetensors", "open_clip_model.safetensors"]
    assert weights.stat().st_mode == Path(run.work / "epoch-2.json").stat().st_mode, "others may read it"
    assert not list(run.work.glob("attempt-*")), "nothing of the process is left"
    assert resumed == []
    assert [r.weights_sha256 for r in run.run()] == [r.weights_sha256 for r in records], (
        "it is done: nothing is trained"
    )
    assert resumed == ["tiny goes on from epoch 2 of 2"]


KILLED = """
import sys
from pathlib import Path
from tests.unit.training.tiny import recipe, training
made = recipe(sys.argv[2], samples_seen=16 * 60, epochs=30)
training(Path(sys.argv[1]), made, sorted(Path(sys.argv[3]).iterdir())).run()
"""


def test_killed_and_run_again_it_takes_the_steps_an_undisturbed_one_would(tmp_path, configs, shards):
    command = [sys.executable, "-c", KILLED, str(tmp_path), configs, str(shards[0].parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["."])}
    driver = subprocess.Popen(command, env=environment, start_new_session=True)
    log = tmp_path / "work" / "attempt-0" / "log.jsonl"
    try:
        waited = threading.Event()
        for _ in range(12_000):
            if driver.poll() is not None or (log.is_file() and "Start epoch 2" in log.read_text()):
                break
            waited.wait(0.01)
        assert driver.poll() is None, "it ended before it could be killed"
        children = [int(pid) for pid in Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split()]
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        for _ in range(1_000):
            if not any(_alive(pid) for pid in children):
                break
            waited.wait(0.01)
        assert children
        assert not any(_alive(pid) for pid in children), "the training process outlived its driver"
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    made = recipe(configs, samples_seen=60 * SAMPLES, epochs=30)
    said: list[str] = []
    told: list[str] = []
    records = training(tmp_path, made, shards, say=said.append, resumed=told.append).run()
    undisturbed = training(tmp_path / "undisturbed", made, shards).run()
    assert [(r.epoch, r.steps, r.samples_seen) for r in records] == [
        (r.epoch, r.steps, r.samples_seen) for r in undisturbed
    ]
    assert [r.learning_rate for r in records] == [r.learning_rate for r in undisturbed]
    resumed = [r.resumed_from for r in records]
    assert resumed[0] is None
    assert resumed[-1] is not None
    assert resumed[-1] >= 1, "what was finished before is not trained again"
    assert any("from epoch" in line for line in said)
    assert told == [f"tiny goes on from epoch {resumed[-1]} of 30"]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_loss_that_is_no_number_stops_it_and_publishes_nothing(tmp_path, configs, shards):
    run = training(tmp_path, recipe(configs, learning_rate=1e30, samples_seen=16 * SAMPLES, epochs=2), shards)
    with pytest.raises(TrainingFailed, match=r"the loss of tiny became nan in epoch 1: lower learning_rate"):
        run.run()
    assert not list(run.output.glob("*"))


@pytest.mark.slow
def test_a_shard_that_goes_missing_on_the_way_stops_it(tmp_path, configs, shards):
    shards[2].unlink()
    with pytest.raises(TrainingFailed, match=r"00002\.tar"):
        training(tmp_path, recipe(configs), shards).run()


@pytest.mark.slow
def test_a_truncated_state_costs_one_epoch_and_no_more(trained):
    run = training(trained.folder, trained.recipe, trained.shards)
    records = run.run()
    assert [r.resumed_from for r in records] == [None] * 4
    states = {path.name for path in run.work.glob("state-*.pt")}
    assert states == {"state-3.pt", "state-4.pt"}, "one more than is needed is kept"
    last = run.work / "state-4.pt"
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    again = run.run()
    assert [(r.epoch, r.steps) for r in again] == [(r.epoch, r.steps) for r in records]
    assert [r.resumed_from for r in again] == [None, None, None, 3]


@pytest.mark.slow
def test_a_dead_attempt_gives_its_whole_checkpoints_and_not_its_broken_ones(trained):
    """As a kill while open_clip_train writes leaves it: an epoch that was saved whole, the next one cut short."""
    run = training(trained.folder, trained.recipe, trained.shards)
    attempt = run.work / "attempt-0"
    checkpoints = attempt / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (run.work / "state-3.pt").rename(checkpoints / "epoch_3.pt")
    content = (run.work / "state-4.pt").read_bytes()
    (checkpoints / "epoch_4.pt").write_bytes(content[: len(content) // 3])
    lines = [{"time": 1.0, "message": "Start epoch 2"}, {"time": 2.0, "message": _step(2)}]
    (attempt / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"time": 3.0, "mess')
    for name in ("epoch-3.json", "epoch-4.json", "state-4.pt"):
        (run.work / name).unlink()
    said: list[str] = []
    records = training(trained.folder, trained.recipe, trained.shards, say=said.append).run()
    assert [r.resumed_from for r in records] == [None, None, 2, 3]
    assert any("epoch_4.pt cannot be read" in line for line in said)


def test_killed_between_a_state_and_its_record_it_trains_nothing_again(trained):
    run = training(trained.folder, trained.recipe, trained.shards)
    checkpoints = run.work / "attempt-0" / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (run.work / "state-4.pt").rename(checkpoints / "epoch_4.pt")
    (run.work / "epoch-3.json").unlink()
    (run.work / "epoch-4.json").unlink()
    messages = ["Start epoch 2", _step(2), "Start epoch 3", _step(3)]
    lines = [json.dumps({"time": float(time), "message": message}) for time, message in enumerate(messages)]
    (run.work / "attempt-0" / "log.jsonl").write_text("\n".join(lines) + "\n")
    said: list[str] = []
    records = training(trained.folder, trained.recipe, trained.shards, say=said.append).run()
    assert [(r.epoch, r.resumed_from) for r in records] == [(1, None), (2, None), (3, 2), (4, 2)]
    assert not any("training" in line for line in said)


def _step(epoch: int) -> str:
    return (
        f"Train Epoch: {epoch} [32/32 (100%)] Data (t): 0.1 Batch (t): 0.1, 99/s, 99/s/gpu LR: 0.001000 "
        "Logit Scale: 14.2 Contrastive_loss: 2.5 (2.5) Loss: 2.5000 (2.6000)"
    )


def test_two_processes_train_the_same_recipe(tmp_path, configs, shards):
    made = recipe(configs)
    run = training(tmp_path, made, shards, processes=2)
    assert (run.placement.batch_size, run.placement.loaders) == (SAMPLES // 2, 2)
    records = run.run()
    assert [(r.steps, r.samples_seen) for r in records] == [(2, 2 * SAMPLES), (4, 4 * SAMPLES)]
    assert all("module." not in name for name in load_file(run.output / records[-1].weights))
    # And one process goes on from what two have left.
    (run.work / "epoch-2.json").unlink()
    alone = training(tmp_path, made, shards).run()
    assert [(r.steps, r.resumed_from) for r in alone] == [(2, None), (4, 1)]
    # And two from what one has.
    (run.work / "epoch-2.json").unlink()
    assert [r.resumed_from for r in training(tmp_path, made, shards, processes=2).run()] == [None, 1]


@pytest.mark.slow
def test_a_batch_in_parts_is_one_step(tmp_path, configs, shards):
    records = training(tmp_path, recipe(configs), shards, accumulation=2).run()
    assert [r.steps for r in records] == [2, 4]


@pytest.mark.slow
def test_a_training_that_says_nothing_is_ended(tmp_path, configs, shards):
    with pytest.raises(TrainingFailed, match="said nothing for 0 s"):
        training(tmp_path, recipe(configs), shards, stall_seconds=0.2).run()


def test_weights_that_are_no_numbers_are_no_checkpoint(trained):
    path = trained.folder / "work" / "state-4.pt"
    content = torch.load(path, weights_only=True)
    name = next(iter(content["state_dict"]))
    content["state_dict"][name].view(-1)[0] = float("nan")
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"no numbers: {name}"):
        read_state(path)


def test_weights_of_another_model_do_not_load(tmp_path, configs):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="does not load into tiny"):
        open_model(MODEL, tmp_path / "other.safetensors", configs)
    with pytest.raises(CheckpointError, match="expected the name of an open_clip model, found 'none'"):
        open_model("none", tmp_path / "other.safetensors", configs)


def test_macs_are_those_of_the_matrices(configs):
    open_clip.add_model_config(Path(configs))
    model = open_clip.create_model(MODEL)
    counted = gmacs_per_sample(model) * 1e9
    weights = {name: value for name, value in model.named_parameters() if value.ndim == 2 and "embedding" not in name}
    tokens = {"visual": 5, "text": 8}
    blocks = sum(
        value.numel() * tokens["visual" if name.startswith("visual") else "text"]
        for name, value in weights.items()
        if "resblocks" in name
    )
    assert 0.9 * blocks < counted < 1.6 * blocks


def test_a_recipe_that_does_not_fit_the_machine_is_refused(configs):
    with pytest.raises(PlacementError, match="cannot be shared by 3 processes in 1 parts"):
        place(recipe(configs), ComputeOptions(processes=3, device="cpu"))
    if not torch.cuda.is_available():
        with pytest.raises(PlacementError, match="no GPU here"):
            place(recipe(configs), ComputeOptions(device="cuda"))
