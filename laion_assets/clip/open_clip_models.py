"""Models and weights as open_clip knows them, which is imported once something is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laion_assets.clip.options import HUB_PREFIX, EncoderError, EncoderOptions, weights_file

if TYPE_CHECKING:
    import torch


def load_open_clip(options: EncoderOptions, device: str) -> tuple[Any, Callable[[Any], torch.Tensor], Any, Path]:
    """Load a model as open_clip makes it, for whoever needs more of it than an `Encoder` shows.

    Returns:
        The model in evaluation mode, its preprocessing of a PIL picture, its tokenizer, and the weights file.

    Raises:
        EncoderError: model or weights do not exist, or do not fit each other.
    """
    import open_clip

    if options.model_configs is not None:
        add_model_configs(options.model_configs)
    published = {}
    if options.model.startswith(HUB_PREFIX):
        weights = _fetch(lambda: open_clip.pretrained.download_pretrained_from_hf(options.model[len(HUB_PREFIX) :]))
    else:
        if open_clip.get_model_config(options.model) is None:
            raise EncoderError(
                f"expected the name of an open_clip model, found {options.model!r}: no such configuration is shipped "
                f"or in model_configs ({options.model_configs or 'not set'}); `open_clip.list_models()` names them all"
            )
        published = open_clip.get_pretrained_cfg(options.model, options.pretrained)
        file = None if published else weights_file(options)
        if not published and file is None:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(options.model)) or "none"
            raise EncoderError(
                f"{options.model} has no weights {options.pretrained!r}: expected a file or one of its tags ({tags})"
            )
        weights = str(file) if file else _fetch(lambda: open_clip.download_pretrained(published))
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            options.model,
            pretrained=options.pretrained or None,
            device=device,
            pretrained_text=False,
            # Weights trained with QuickGELU give wrong vectors under plain GELU, and open_clip only warns of it.
            force_quick_gelu=bool(published.get("quick_gelu")),
        )
        tokenizer = open_clip.get_tokenizer(options.model)
    except Exception as error:  # each format's reader raises its own errors on a broken file
        raise EncoderError(f"{options.model} cannot be loaded with the weights {weights}: {error}") from error
    model.eval()
    return model, preprocess, tokenizer, Path(weights)


def add_model_configs(folder: str) -> None:
    """Make the open_clip model configurations in a folder known to open_clip, in this process.

    Raises:
        EncoderError: the folder does not exist or holds no JSON file.
    """
    import open_clip

    path = Path(folder)
    if not any(path.glob("*.json")):
        raise EncoderError(
            f"model_configs: expected a folder of open_clip's JSON model configurations, found none in {path}"
        )
    open_clip.add_model_config(path)


def _fetch(download: Callable[[], str]) -> str:
    try:
        return download()
    except Exception as error:  # the hub's client raises its own, urllib's, requests' and plain errors
        raise EncoderError(
            f"the weights cannot be fetched: {error}; connect once so that they are cached, or name a file"
        ) from error
