"""The name of what torch computes on."""


def device_name(device: str) -> str:
    """What stands behind torch's name of a device: `NVIDIA H100 80GB HBM3`, `Apple GPU`, or `cpu`.

    Args:
        device: as torch names it: `cuda`, `cuda:1`, `mps`, `cpu`.
    """
    kind = device.split(":", 1)[0]
    if kind == "cuda":
        import torch

        return str(torch.cuda.get_device_name(device))
    return {"mps": "Apple GPU"}.get(kind, kind)
