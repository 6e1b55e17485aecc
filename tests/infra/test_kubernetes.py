"""The Kubernetes files, checked with the API's own types, with Dagster's own pod builder, and against the guard."""

import functools
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import (
    DagsterK8sJobConfig,
    UserDefinedDagsterK8sConfig,
    construct_dagster_k8s_job,
    get_user_defined_k8s_config,
)
from kubernetes import client

from laion_assets.definitions import defs
from laion_assets.download.addresses import NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6, is_public
from tests.infra.files import helm_values, kubernetes_objects, user_deployment
from tests.infra.kubernetes_schema import faults, kind_of

NEEDS_INTERNET = {"crawl_snapshots", "wat_files", "candidate_pairs", "images"}
NEEDS_GPU = {
    "calibrations",
    "clip_embeddings",
    "clip_checkpoints",
    "zero_shot_scores",
    "retrieval_scores",
}


# -- schemas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("manifest", kubernetes_objects(), ids=lambda m: f"{m['kind']}-{m['metadata']['name']}")
def test_manifests_are_what_the_api_takes(manifest: dict[str, Any]) -> None:
    assert list(faults(manifest, kind_of(manifest))) == []


def pod_parts(values: Any, path: str = "") -> Iterator[tuple[str, Any, str]]:
    """(path, value, type) of every part of the chart's values that becomes part of a pod or a job as it is."""
    kinds = {
        "resources": "V1ResourceRequirements",
        "podSecurityContext": "V1PodSecurityContext",
        "securityContext": "V1SecurityContext",
        "tolerations": "list[V1Toleration]",
        "affinity": "V1Affinity",
        "nodeSelector": "dict[str, str]",
        "envConfigMaps": "list[V1ConfigMapEnvSource]",
        "envSecrets": "list[V1SecretEnvSource]",
        "volumes": "list[V1Volume]",
        "volumeMounts": "list[V1VolumeMount]",
        "containerConfig": "V1Container",
        "podSpecConfig": "V1PodSpec",
        "jobSpecConfig": "V1JobSpec",
        "podTemplateSpecMetadata": "V1ObjectMeta",
    }
    if isinstance(values, list):
        for number, item in enumerate(values):
            yield from pod_parts(item, f"{path}[{number}]")
    elif isinstance(values, dict):
        for name, value in values.items():
            if name in kinds:
                yield f"{path}.{name}", value, kinds[name]
            else:
                yield from pod_parts(value, f"{path}.{name}")


def test_parts_of_pods_in_the_charts_values_are_what_the_api_takes() -> None:
    parts = list(pod_parts(helm_values()))
    assert {path.rpartition(".")[2] for path, _, _ in parts} >= {"containerConfig", "podSpecConfig", "jobSpecConfig"}
    assert [fault for path, value, kind in parts for fault in faults(value, kind, partial=True, path=path)] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"egres": []}, "V1NetworkPolicySpec has no such field"),
        ({"policyTypes": "Egress"}, "expected a list"),
        ({"egress": [{"to": [{"ipBlock": {"except": ["10.0.0.0/8"]}}]}]}, "cidr"),
        ({"podSelector": {"matchLabels": {"laion/network": True}}}, "expected str"),
    ],
)
def test_a_wrong_manifest_is_found(change: dict[str, Any], said: str) -> None:
    policy = next(m for m in kubernetes_objects() if m["kind"] == "NetworkPolicy")
    wrong = {**policy, "spec": {**policy["spec"], **change}}
    assert said in "; ".join(faults(wrong, kind_of(wrong)))


# -- the pods that Dagster makes --------------------------------------------------------------------------------------


def launcher_config() -> UserDefinedDagsterK8sConfig:
    """What the chart hands to the run launcher."""
    raw = helm_values()["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    names = {
        "containerConfig": "container_config",
        "podSpecConfig": "pod_spec_config",
        "jobSpecConfig": "job_spec_config",
    }
    return UserDefinedDagsterK8sConfig.from_dict({names[name]: value for name, value in raw.items()})


def _names_of(part: Mapping[str, Any]) -> list[str]:
    return [source["name"] for source in part["envConfigMaps"]]


def pod_of(step_tags: Mapping[str, Any]) -> client.V1Job:
    """The job of a step with these tags, by Dagster's own hand; no tags: of a run."""
    deployment, launcher = user_deployment(), helm_values()["runLauncher"]["config"]["k8sRunLauncher"]
    account = helm_values()["global"]["serviceAccountName"]
    contexts = [
        K8sContainerContext(run_k8s_config=launcher_config()),
        K8sContainerContext(env_config_maps=_names_of(launcher), service_account_name=account, namespace="laion"),
    ]
    if deployment["includeConfigInLaunchedRuns"]["enabled"]:  # as the chart passes the code server's settings on
        contexts.append(K8sContainerContext(env_config_maps=_names_of(deployment), resources=deployment["resources"]))
    contexts.append(K8sContainerContext(run_k8s_config=get_user_defined_k8s_config(dict(step_tags))))
    context = functools.reduce(K8sContainerContext.merge, contexts)
    config = DagsterK8sJobConfig(
        job_image=f"{deployment['image']['repository']}:{deployment['image']['tag']}",
        dagster_home=helm_values()["global"]["dagsterHome"],
        instance_config_map="laion-dagster-instance",
        postgres_password_secret=helm_values()["global"]["postgresqlSecretName"],
    )
    job = construct_dagster_k8s_job(
        config, ["dagster", "api", "execute_step"], "step", context.run_k8s_config, component="step_worker"
    )
    assert list(faults(client.ApiClient().sanitize_for_serialization(job), "V1Job")) == []
    return job


def step_tags() -> dict[str, Mapping[str, Any]]:
    """The op tags of every asset, by its table."""
    return {
        key.to_user_string(): asset.op.tags
        for asset in defs.resolve_asset_graph().assets_defs
        if asset.is_executable
        for key in asset.keys
    }


def test_a_runs_pod_has_its_memory_its_scratch_and_no_root() -> None:
    pod = pod_of({}).spec.template.spec
    (container,) = pod.containers
    assert container.resources.limits == {"memory": "16Gi"}, "not the code server's own"
    assert {mount.mount_path for mount in container.volume_mounts} >= {"/scratch", "/dev/shm"}
    assert [source.config_map_ref.name for source in container.env_from if source.config_map_ref] == ["laion-settings"]
    assert pod.service_account_name == "laion"
    assert pod.security_context.run_as_non_root is True
    assert pod.restart_policy == "Never"


def test_steps_on_machines_that_may_go_are_left_to_dagster() -> None:
    job = pod_of({})
    assert job.spec.backoff_limit == 0
    assert job.spec.ttl_seconds_after_finished > 0
    assert {toleration.key for toleration in job.spec.template.spec.tolerations} >= {"laion/spot"}


def test_gpu_steps_and_no_others_get_a_gpu() -> None:
    with_gpu = set()
    for table, tags in step_tags().items():
        pod = pod_of(tags)
        (container,) = pod.spec.template.spec.containers
        if "nvidia.com/gpu" in container.resources.limits:
            with_gpu.add(table)
            keys = {toleration.key for toleration in pod.spec.template.spec.tolerations}
            assert keys >= {"laion/spot", "nvidia.com/gpu"}, f"{table} gets no machine with a GPU"
            assert pod.spec.template.metadata.labels["laion/gpu"] == "true"
    assert with_gpu == NEEDS_GPU


def test_steps_that_reach_the_internet_carry_the_label_of_the_network_policy() -> None:
    labels = {table: pod_of(tags).spec.template.metadata.labels for table, tags in step_tags().items()}
    assert {table for table, found in labels.items() if found.get("laion/network") == "public"} == NEEDS_INTERNET
    assert policy("laion-public")["podSelector"] == {"matchLabels": {"laion/network": "public"}}


# -- the network policies ---------------------------------------------------------------------------------------------


def policy(name: str) -> Mapping[str, Any]:
    """The specification of one network policy."""
    return next(m["spec"] for m in kubernetes_objects() if m["metadata"]["name"] == name)


def lets_out(spec: Mapping[str, Any], address: str, port: int) -> bool:
    """Whether a policy lets a pod connect to an address by TCP, as the API defines it; peers that are pods aside."""
    parsed = ipaddress.ip_address(address)
    for rule in spec["egress"]:
        ports = rule.get("ports", [{}])
        if not any(p.get("protocol", "TCP") == "TCP" and p.get("port", port) == port for p in ports):
            continue
        for peer in rule["to"]:
            block = peer.get("ipBlock")
            if block and _is_in(parsed, [block["cidr"]]) and not _is_in(parsed, block.get("except", [])):
                return True
    return False


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: list[str]) -> bool:
    return any(address in ipaddress.ip_network(network) for network in networks)


SPECIAL = [
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"),
    *("100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3"),
    *("169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.1.1"),
    *(
        "168.63.129.16",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
    ),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1"),
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:a00:1::1"),
    *("2001:0:a00:1::1", "2001:10::1", "100::1"),
]
PUBLIC = ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.0.1", "100.128.0.1", "126.0.0.1", "128.0.0.1", "223.1.2.3"]
PUBLIC += ["169.253.1.1", "169.255.1.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "192.169.0.1", "198.17.0.1"]
PUBLIC += ["2600:1f00::1", "2a00:1450::1", "2606:4700::1111", "2001:4860:4860::8888"]


def test_downloads_reach_what_the_guard_lets_them_reach_and_nothing_private() -> None:
    spec = policy("laion-public")
    assert [address for address in SPECIAL if not is_public(address) and lets_out(spec, address, 80)] == []
    assert [address for address in SPECIAL if lets_out(spec, address, 443)] == []
    for address in PUBLIC:
        assert is_public(address)
        assert all(lets_out(spec, address, port) for port in (80, 443, 8080)), address


def test_the_edges_of_every_hole_are_the_guards_edges() -> None:
    """What is cut out is what the guard refuses, from the first address to the last, and nothing else is refused."""
    cuts = [
        ipaddress.ip_network(cut)
        for rule in policy("laion-public")["egress"]
        for peer in rule["to"]
        for cut in peer.get("ipBlock", {}).get("except", [])
    ]
    for network in map(ipaddress.ip_network, [*NOT_PUBLIC_IPV4, *NOT_PUBLIC_IPV6]):
        assert any(network.version == cut.version and network.subnet_of(cut) for cut in cuts), network
    for network in cuts:
        assert not is_public(str(network[0])), network
        assert not is_public(str(network[-1])), network


def test_downloads_reach_the_database_by_its_port_alone() -> None:
    spec, inside = policy("laion-public"), policy("laion-inside")
    assert lets_out(spec, "10.0.32.7", 5432)
    assert not lets_out(spec, "10.0.32.7", 22)
    assert lets_out(inside, "10.0.32.7", 5432)


def test_no_pod_reaches_the_metadata_service() -> None:
    for name in ("laion-public", "laion-inside"):
        assert not any(lets_out(policy(name), "169.254.169.254", port) for port in (80, 443, 6443))


def test_the_wider_policy_leaves_the_downloads_out() -> None:
    """Policies add up: one that also selected these pods would open what the other one closes."""
    (expression,) = policy("laion-inside")["podSelector"]["matchExpressions"]
    assert expression == {"key": "laion/network", "operator": "NotIn", "values": ["public"]}
    assert len([m for m in kubernetes_objects() if m["kind"] == "NetworkPolicy"]) == 2


def test_a_hole_in_the_policy_is_found() -> None:
    spec = {"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}]}
    assert lets_out(spec, "169.254.169.254", 80)
    assert not lets_out(spec, "10.1.2.3", 80)
