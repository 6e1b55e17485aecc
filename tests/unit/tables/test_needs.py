"""What each step asks for, as Dagster, Ray and Kubernetes understand it."""

import json

import pytest

from laion_assets.orchestration.execution import ExecutorError
from laion_assets.orchestration.execution.executors import ensure_reachable, executor, sent_to_ray
from laion_assets.settings import Settings, SettingsError, load_settings
from laion_assets.sql.project import load_project
from laion_assets.tables.catalogue import STAGES
from laion_assets.tables.limits import NEEDS, SQL_MODELS, Sizes, need_of
from laion_assets.tables.needs import POOLS, op_tags

GPU_STEPS = {
    "clip_embeddings", "image_scores", "calibrations", "clip_checkpoints", "zero_shot_scores", "retrieval_scores"
}  # fmt: skip
READS_THE_WEB = {"crawl_snapshots", "wat_files", "candidate_pairs", "images"}


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **changes)  # type: ignore[call-arg]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("LAION_LAKE", str(tmp_path / "lake"))
    return monkeypatch


def test_every_stage_says_what_it_needs():
    assert {*NEEDS} == {*STAGES} - {"imports", "takedowns"} | {SQL_MODELS}
    assert {need.pool for need in NEEDS.values()} - {None} == {*POOLS}
    assert {name for name, need in NEEDS.items() if need.gpus} == GPU_STEPS
    assert {name for name, need in NEEDS.items() if need.pool == "gpu"} == GPU_STEPS
    assert {name for name, need in NEEDS.items() if need.public} == READS_THE_WEB


def test_a_model_needs_what_models_need():
    model = next(iter(load_project().enabled))
    assert need_of(model, {}) == NEEDS[SQL_MODELS]
    assert need_of(model, {SQL_MODELS: Sizes(cpus=7)}).cpus == 7


def test_a_limit_changes_what_it_names_and_nothing_else(environment):
    environment.setenv("LAION_LIMITS__CLIP_EMBEDDINGS__MEMORY_GIB", "20.5")
    environment.setenv("LAION_LIMITS__CLIP_EMBEDDINGS__GPUS", "0")
    loaded = load_settings()
    need = need_of("clip_embeddings", loaded.limits)
    declared = NEEDS["clip_embeddings"]
    assert (need.memory_gib, need.gpus) == (20.5, 0)
    assert (need.cpus, need.hours, need.pool) == (declared.cpus, declared.hours, "gpu")
    assert need_of("images", loaded.limits) == NEEDS["images"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LAION_LIMITS__PICTURES__CPUS", "2", "there is no pictures; limits are set for crawl_snapshots"),
        ("LAION_LIMITS__IMAGES__MEMORY_GIB", "0", "LAION_LIMITS__IMAGES__MEMORY_GIB: Input should be greater than 0"),
        ("LAION_LIMITS__IMAGES__MEMORY", "3", "LAION_LIMITS__IMAGES__MEMORY: Unexpected keyword argument"),
        ("LAION_RETRIES__TIMES", "-1", "times: expected at least 0, found -1"),
        ("LAION_EXECUTOR", "slurm", "'in-process', 'multiprocess', 'ray' or 'kubernetes'"),
    ],
)
def test_a_wrong_setting_is_named(environment, name, value, said):
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()


def test_kubernetes_is_asked_for_what_it_can_give():
    """The tags go through dagster-k8s' own reading of them, and Kubernetes' own models."""
    from dagster_k8s.job import UserDefinedDagsterK8sConfig
    from kubernetes.client import V1Toleration

    for table in NEEDS:
        need = NEEDS[table]
        config = UserDefinedDagsterK8sConfig.from_dict(op_tags(need, {"pool": "a100"})["dagster-k8s/config"])
        resources = config.container_config["resources"]
        labels = config.pod_template_spec_metadata["labels"]
        assert labels["laion/network"] == ("public" if table in READS_THE_WEB else "private")
        assert resources["requests"] == {
            "cpu": f"{int(need.cpus * 1000)}m",
            "memory": f"{int(need.memory_gib * 1024)}Mi",
        }
        assert int(resources["limits"]["memory"].removesuffix("Mi")) > need.memory_gib * 1024
        if table in GPU_STEPS:
            assert resources["limits"]["nvidia.com/gpu"] == "1"
            assert labels["laion/gpu"] == "true"
            assert config.pod_spec_config["node_selector"] == {"pool": "a100"}
            tolerations = [V1Toleration(**toleration) for toleration in config.pod_spec_config["tolerations"]]
            assert [(t.key, t.operator, t.effect) for t in tolerations] == [("nvidia.com/gpu", "Exists", "NoSchedule")]
        else:
            assert "nvidia.com/gpu" not in resources["limits"]
            assert not config.pod_spec_config
            assert "laion/gpu" not in labels


def test_ray_is_asked_for_what_it_can_give():
    from dagster_ray.configs import RayExecutionConfig

    for table, need in NEEDS.items():
        tags = {name: json.dumps(value) for name, value in op_tags(need, {}).items()}
        config = RayExecutionConfig.from_tags(tags)
        assert (config.num_cpus, config.memory) == (need.cpus, need.memory_gib * 2**30)
        assert config.num_gpus == (1 if table in GPU_STEPS else None)


@pytest.mark.parametrize(
    ("chosen", "name"),
    [("in-process", "in_process"), ("multiprocess", "multiprocess"), ("ray", "ray"), ("kubernetes", "k8s")],
)
def test_the_executor_is_the_one_that_was_chosen(chosen, name):
    assert executor(settings(executor=chosen)).name == name


def test_ray_s_machines_get_the_settings_with_whole_paths_and_no_secrets(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").touch()
    monkeypatch.setenv("LAION_ENCODER__PRETRAINED", "weights.pt")
    monkeypatch.setenv("LAION_FILTER__POLICY", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    chosen = settings(executor="ray", lake="not-made-yet", source="s3://commoncrawl")
    sent = dict(entry.split("=", 1) for entry in sent_to_ray(chosen))
    assert sent["LAION_LAKE"] == str(tmp_path / "not-made-yet")
    assert sent["LAION_SOURCE"] == "s3://commoncrawl"
    assert sent["LAION_ENCODER__PRETRAINED"] == str(tmp_path / "weights.pt")
    assert sent["LAION_FILTER__POLICY"] == "none"
    assert not [name for name in sent if name.startswith("AWS_")]


@pytest.mark.parametrize("source", ["https://reader:secret@mirror.test/cc", "https://mirror.test/cc?sig=secret"])
def test_ray_s_machines_are_not_sent_a_source_s_address_with_credentials(source, monkeypatch):
    monkeypatch.setenv("LAION_SOURCE", source)
    assert not [entry for entry in sent_to_ray(settings(executor="ray", source=source)) if "secret" in entry]


def test_a_cluster_that_is_not_there_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    ensure_reachable(settings())
    with pytest.raises(ExecutorError, match=r"127\.0\.0\.1:9\. Start a cluster .* RAY_ADDRESS=") as raised:
        ensure_reachable(settings(executor="ray"))
    assert "\n" not in str(raised.value)
