"""What a step needs of whoever runs it. Declarations say it, and pools, Ray, Kubernetes and the watch over memory and
time all follow from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Executor: TypeAlias = Literal["in-process", "multiprocess", "ray", "kubernetes"]
"""Who runs steps: this process, processes beside it, the machines of a Ray cluster, or pods of a Kubernetes one."""

Pool: TypeAlias = Literal["network", "gpu", "memory"]

POOLS: Mapping[str, int] = {"network": 2, "gpu": 1, "memory": 1}
"""Steps that may hold a place in each pool of a new Dagster instance at once. Whoever owns the instance changes it."""

GPU_NODES: Mapping[str, str] = {"nvidia.com/gpu.present": "true"}
"""What NVIDIA's GPU operator labels nodes with that have GPUs."""

_GIB = 1024**3


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What building one partition takes."""

    pool: Pool | None = None
    """The pool the step takes a place in."""
    public: bool = False
    """Whether it talks to the internet, by which a network policy lets it out."""
    cpus: float = 1
    """Cores."""
    memory_gib: float = 6
    """The most that the step and its child processes may hold, in GiB."""
    gpus: int = 0
    """Whole GPUs."""
    hours: float = 6
    """The longest that one partition may take, in hours."""

    @property
    def memory_bytes(self) -> int:
        """The most that the step and its child processes may hold."""
        return int(self.memory_gib * _GIB)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryOptions:
    """How often, and how patiently, a step is tried again after a failure that can pass."""

    times: int = 3
    """Tries after the first; 0: none."""
    seconds: float = 10.0
    """About how long to wait before the first of them; it doubles with each further one, and varies by chance."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name in ("times", "seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, found {getattr(self, name)}")


def op_tags(need: Need, gpu_nodes: Mapping[str, str]) -> dict[str, Any]:
    """What Ray and Kubernetes are told of a step, whichever of them runs it.

    Args:
        need: of the step.
        gpu_nodes: labels of the Kubernetes nodes that have GPUs.
    """
    ray: dict[str, Any] = {"num_cpus": need.cpus, "memory": need.memory_bytes}
    if need.gpus:
        ray["num_gpus"] = need.gpus
    return {"dagster-ray/config": ray, "dagster-k8s/config": _kubernetes(need, gpu_nodes)}


def _kubernetes(need: Need, gpu_nodes: Mapping[str, str]) -> dict[str, Any]:
    """Step pods, where the Kubernetes executor makes them. No deadline: a step may build a range of partitions."""
    # The watch ends a step with words before the kernel ends its pod without any.
    limits = {"memory": f"{int(need.memory_bytes * 1.2) >> 20}Mi"}
    labels = {"laion/network": "public" if need.public else "private"}
    pod: dict[str, Any] = {}
    if need.gpus:
        limits["nvidia.com/gpu"] = str(need.gpus)
        labels["laion/gpu"] = "true"
        pod = {
            "node_selector": dict(gpu_nodes),
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        }
    requests = {"cpu": f"{round(need.cpus * 1000)}m", "memory": f"{need.memory_bytes >> 20}Mi"}
    return {
        "container_config": {"resources": {"requests": requests, "limits": limits}},
        "pod_template_spec_metadata": {"labels": labels},
        **({"pod_spec_config": pod} if pod else {}),
    }
