"""The published shapes of heads on vectors, recognised by the names and shapes of their tensors.

- one linear layer, ``weight`` and ``bias``: LAION's aesthetic predictor v1, and whatever else is linear;
- ``layers.0, 2, 4, 6, 7``: the improved aesthetic predictor (v2). Between its layers is no activation, so that all five
  are one affine map;
- Keras' ``layer_with_weights-1, 2, …``: LAION's NSFW detectors, with normalisation first, ReLU between and a sigmoid
  at the end.

What measures a probability has a sigmoid at its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from laion_assets.scoring.head import Head
from laion_assets.scoring.tensors import HeadError, Tensor

Floats = npt.NDArray[np.float64]

_UNACTIVATED: Final = tuple(f"layers.{number}." for number in (0, 2, 4, 6, 7))
_KERAS: Final = "layer_with_weights-"
_KERAS_EPSILON: Final = 1e-7  # keras.backend.epsilon(), the least standard deviation of its Normalization


@dataclass(frozen=True, kw_only=True, slots=True)
class Affine:
    """``weights · vector + bias``, and the sigmoid of it where it is a probability."""

    weights: Floats
    bias: float
    is_probability: bool

    @property
    def width(self) -> int:
        """Length of a vector."""
        return len(self.weights)

    def score(self, vectors: npt.NDArray[np.float32]) -> Floats:
        """The score of each row."""
        return _activated(vectors.astype(np.float64) @ self.weights + self.bias, self.is_probability)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Affine maps with ReLU between them; the first takes in the normalisation."""

    maps: tuple[tuple[Floats, Floats], ...]
    """Weights [in, out] and bias [out] of each."""
    is_probability: bool

    @property
    def width(self) -> int:
        """Length of a vector."""
        return len(self.maps[0][0])

    def score(self, vectors: npt.NDArray[np.float32]) -> Floats:
        """The score of each row, in double precision: so that it does not matter beside which others it is computed."""
        rows: Floats = vectors.astype(np.float64)
        for weights, bias in self.maps[:-1]:
            rows = np.maximum(rows @ weights + bias, 0.0)
        weights, bias = self.maps[-1]
        return _activated((rows @ weights + bias)[:, 0], self.is_probability)


def _activated(scores: Floats, is_probability: bool) -> Floats:
    if not is_probability:
        return scores
    small = np.exp(-np.abs(scores))  # at most 1: nothing overflows
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)


def vector_scorer(head: Head, tensors: Mapping[str, Tensor]) -> Affine | Layers:
    """What scores vectors as a head does.

    Args:
        head: the head, made for an encoder.
        tensors: of its file.

    Raises:
        HeadError: the tensors are those of no known shape, or of another width than the encoder's.
    """
    is_probability = head.measures != "aesthetic"
    try:
        maps = _maps(tensors)
    except (KeyError, ValueError, IndexError) as error:
        raise _unknown(head, tensors) from error
    if maps is None or maps[-1][1].shape != (1,):
        raise _unknown(head, tensors)
    if len(maps) == 1:
        found: Affine | Layers = Affine(
            weights=maps[0][0][:, 0], bias=float(maps[0][1][0]), is_probability=is_probability
        )
    else:
        found = Layers(maps=maps, is_probability=is_probability)
    if head.made_for is None or found.width != head.made_for.width:
        said = "none" if head.made_for is None else f"one of width {head.made_for.width}"
        raise HeadError(
            f"the head {head.name}: its weights take vectors of width {found.width}, its description names {said}"
        )
    return found


def _maps(tensors: Mapping[str, Tensor]) -> tuple[tuple[Floats, Floats], ...] | None:
    """The affine maps between which something happens; None where the names are unknown."""
    names = set(tensors)
    if names == {"weight", "bias"}:
        return (_torch_map(tensors, ""),)
    if names == {f"{layer}{part}" for layer in _UNACTIVATED for part in ("weight", "bias")}:
        return (_folded([_torch_map(tensors, layer) for layer in _UNACTIVATED]),)
    layers = {name.rpartition(".")[0] for name in names}
    dense = [f"{_KERAS}{number}" for number in range(2, len(layers) + 1)]
    expected = {
        f"{_KERAS}1.mean",
        f"{_KERAS}1.variance",
        *(f"{d}.{part}" for d in dense for part in ("kernel", "bias")),
    }
    if not dense or names - {f"{_KERAS}1.count"} != expected:
        return None
    return _keras_maps(tensors, dense)


def _torch_map(tensors: Mapping[str, Tensor], layer: str) -> tuple[Floats, Floats]:
    return _map(np.atleast_2d(tensors[f"{layer}weight"]).T, np.atleast_1d(tensors[f"{layer}bias"]))


def _map(weights: Tensor, bias: Tensor) -> tuple[Floats, Floats]:
    if weights.ndim != 2 or bias.shape != weights.shape[1:]:
        raise ValueError(f"weights {weights.shape} do not fit bias {bias.shape}")
    return weights.astype(np.float64), bias.astype(np.float64)


def _folded(maps: list[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    weights, bias = maps[0]
    for later, more in maps[1:]:
        weights, bias = weights @ later, bias @ later + more
    return weights, bias


def _keras_maps(tensors: Mapping[str, Tensor], dense: list[str]) -> tuple[tuple[Floats, Floats], ...]:
    """Keras' layers; (x - mean) / deviation is made part of the first."""
    mean = tensors[f"{_KERAS}1.mean"].astype(np.float64).ravel()
    deviation = np.maximum(np.sqrt(tensors[f"{_KERAS}1.variance"].astype(np.float64).ravel()), _KERAS_EPSILON)
    maps = [_map(tensors[f"{layer}.kernel"], tensors[f"{layer}.bias"]) for layer in dense]
    if mean.shape != (len(maps[0][0]),) or deviation.shape != mean.shape:
        raise ValueError("the normalisation does not fit the first layer")
    if any(one[0].shape[1] != len(other[0]) for one, other in pairwise(maps)):
        raise ValueError("layers do not fit each other")
    weights, bias = maps[0]
    scaled = weights / deviation[:, None]
    return ((scaled, bias - mean @ scaled), *maps[1:])


def _unknown(head: Head, tensors: Mapping[str, Tensor]) -> HeadError:
    found = ", ".join(
        f"{name} {'×'.join(map(str, tensor.shape)) or 'scalar'}" for name, tensor in sorted(tensors.items())
    )
    return HeadError(
        f"the head {head.name}: expected one linear layer, LAION's aesthetic or NSFW predictor, found the tensors "
        f"{found[:300] or 'none'}"
    )
