"""What a head is: its name, what it measures, its file with a pinned digest, and the encoder it was made for.

A head is described in a small YAML file, which stands beside its weights or names their address.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from laion_assets.clip.options import EncoderOptions, encoder_identity, encoder_name
from laion_assets.scoring.tensors import HeadError

Kind: TypeAlias = Literal["aesthetic", "unsafe", "watermark"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""What heads measure: an aesthetic score, about 1 to 10; the probability of unsafe content; that of a watermark."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_KEYS: Final = {"name", "measures", "sha256"}
_ENCODER_KEYS: Final = {"model", "pretrained", "width", "normalised"}


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeFor:
    """The encoder whose image vectors a head was trained on."""

    model: str
    """open_clip's name of the architecture, or `hf-hub:owner/name`."""
    pretrained: str
    """open_clip's tag of the weights, or `sha256:` and the digest of a weights file; empty for `hf-hub:`."""
    width: int
    """Length of a vector."""
    normalised: bool
    """Whether vectors are scaled to length 1 first, as those of a lake are."""

    @property
    def identity(self) -> str:
        """As ``encoder_identity`` gives it."""
        return f"{self.model}/{self.pretrained if self.pretrained.startswith('sha256:') else f'tag:{self.pretrained}'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """One head, as it is described."""

    name: str
    """Lower case; what rows call it."""
    measures: Kind
    weights: str
    """Path of the file, or its https address."""
    sha256: str
    """Digest of that file, hex."""
    made_for: MadeFor | None
    """None: it sees pixels, or nothing at all."""
    is_table: bool = False
    """Whether the file holds scores that somebody else computed, and no weights."""

    @property
    def sees(self) -> Literal["vectors", "pixels", "table"]:
        """What it scores."""
        return "table" if self.is_table else "vectors" if self.made_for else "pixels"

    @property
    def content(self) -> list[Any]:
        """What of it decides scores, as JSON has it; wherever its file lies."""
        encoder = self.made_for
        made_for = None if encoder is None else [encoder.identity, encoder.width, encoder.normalised]
        return [self.name, self.measures, self.sha256, made_for, self.sees]


def is_name(text: str) -> bool:
    """Whether a head can be called so: lower-case letters, digits, ``.``, ``_`` and ``-``."""
    return _NAME.fullmatch(text) is not None


def read_heads(files: Iterable[str]) -> tuple[Head, ...]:
    """The heads that these files describe, in their order.

    Raises:
        HeadError: a file is not there or describes no head, or two heads share a name, or measure the same by one file.
    """
    heads = tuple(read_head(Path(file)) for file in files)
    for number, head in enumerate(heads):
        for other in heads[:number]:
            if head.name == other.name or (head.measures, head.sha256) == (other.measures, other.sha256):
                raise HeadError(
                    f"the heads {other.name} and {head.name} are one, or share a name: leave one of them out"
                )
    return heads


def read_head(file: Path) -> Head:
    """The head that a YAML file describes.

    Raises:
        HeadError: there is no such file, or it describes no head.
    """
    try:
        state = file.stat()
    except OSError as error:
        raise HeadError(f"{file}: expected a YAML file that describes a head, found none: {error.strerror}") from error
    return _described(str(file), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=64)
def _described(file: str, _mtime_ns: int, _size: int) -> Head:
    import yaml

    path = Path(file)
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise HeadError(f"{file}: expected YAML that describes a head: {' '.join(str(error).split())}") from error
    keys = {*map(str, said)} - {"encoder"} if isinstance(said, dict) else set()
    is_table = keys == _KEYS | {"table"} and "encoder" not in said
    if not is_table and keys != _KEYS | {"weights"}:
        found = ", ".join(map(str, said)) if isinstance(said, dict) else type(said).__name__
        raise HeadError(
            f"{file}: expected name, measures, sha256, and weights and encoder (none: pixels) or a table, found {found}"
        )
    _expect(file, "name", said["name"], _NAME, "lower-case letters, digits, . _ and -")
    _expect(file, "sha256", said["sha256"], _SHA256, "64 hex digits, in quotation marks where all are decimal")
    if said["measures"] not in KINDS:
        raise HeadError(f"{file}: measures: expected one of {', '.join(KINDS)}, found {said['measures']!r}")
    weights = str(said["table" if is_table else "weights"])
    if "://" in weights and (is_table or not weights.startswith("https://")):
        expected = "a path" if is_table else "a path or an https address"
        raise HeadError(f"{file}: {'table' if is_table else 'weights'}: expected {expected}, found {weights}")
    return Head(
        name=said["name"],
        measures=said["measures"],
        weights=weights if "://" in weights else str(path.parent / Path(weights).expanduser()),
        sha256=said["sha256"],
        made_for=_made_for(file, said.get("encoder")),
        is_table=is_table,
    )


def _expect(file: str, key: str, value: object, pattern: re.Pattern[str], words: str) -> None:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise HeadError(f"{file}: {key}: expected {words}, found {value!r}")


def _made_for(file: str, said: object) -> MadeFor | None:
    if said is None:
        return None
    if not isinstance(said, dict) or said.keys() != _ENCODER_KEYS:
        raise HeadError(f"{file}: encoder: expected model, pretrained, width and normalised, found {said!r}")
    if not isinstance(said["width"], int) or not isinstance(said["normalised"], bool):
        raise HeadError(f"{file}: encoder: expected a whole number as width, and true or false as normalised")
    return MadeFor(**{**said, "model": str(said["model"]), "pretrained": str(said["pretrained"] or "")})


def feeding(head: Head, encoders: Mapping[str, EncoderOptions]) -> EncoderOptions | None:
    """The encoder of a lake whose vectors a head was made for; None for one that sees none.

    Args:
        head: the head.
        encoders: those of the lake, by language group.

    Raises:
        HeadError: the lake has no such encoder.
        EncoderError: the weights file of an encoder is not there.
    """
    made_for = head.made_for
    if made_for is None:
        return None
    if not made_for.normalised:
        raise HeadError(
            f"the head {head.name} was made for vectors that are not normalised, and those of a lake are: train it "
            "on normalised ones"
        )
    found = next((options for options in encoders.values() if encoder_identity(options) == made_for.identity), None)
    if found is None:
        theirs = ", ".join(dict.fromkeys(map(encoder_identity, encoders.values())))
        raise HeadError(
            f"the head {head.name} was made for vectors of {made_for.identity}, and this lake has those of {theirs}: "
            "leave it out of LAION_SCORES__HEADS, or name a head that was made for them"
        )
    return found


def feeder_name(head: Head, encoders: Mapping[str, EncoderOptions]) -> str | None:
    """What rows of embeddings call the encoder that feeds a head, if any; see :func:`feeding`."""
    options = feeding(head, encoders)
    return None if options is None else encoder_name(options)
