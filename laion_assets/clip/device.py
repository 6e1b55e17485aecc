"""What torch computes on: which device and in which precision was asked for, and what stands behind its name.

torch is imported once somebody asks.
"""

from laion_assets.clip.options import EncoderError


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


def resolve_device(device: str) -> str:
    """The device that `EncoderOptions.device` asks for, by torch's name.

    Raises:
        EncoderError: no such device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise EncoderError(f"device: expected `auto`, `cpu` or `cuda[:n]`, found {device!r}") from error
    if wanted.type == "cuda" and (not torch.cuda.is_available() or (wanted.index or 0) >= torch.cuda.device_count()):
        raise EncoderError(
            f"device {device} was asked for, and torch sees {torch.cuda.device_count()} GPUs; use `auto` or `cpu`"
        )
    return device


def resolve_precision(precision: str, device_type: str) -> str:
    """What `EncoderOptions.precision` means on a device of that type: any of PRECISIONS but `auto`."""
    if precision == "auto":
        return "amp_bf16" if device_type == "cuda" else "fp32"
    return precision
