"""Filter policies: which pairs of an embedded crawl are released, as values. ``filter`` applies them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from laion_assets.text.language import LANGUAGE_GROUPS


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The bounds a pair must keep. The defaults let everything pass."""

    name: str
    """What is recorded in each released row."""
    min_text_length: int = 0
    """Characters (Unicode code points) of the normalised text."""
    min_bytes: int = 0
    """Bytes of the picture as it was downloaded."""
    min_side: int = 0
    """Pixels of the shorter side of the picture as it was downloaded."""
    max_aspect_ratio: float | None = None
    """Longer side over shorter side; None for no bound."""
    drop_file_names: bool = False
    """Drop texts that are the name of a file."""
    drop_markup: bool = False
    """Drop texts that hold markup."""
    max_punsafe: float | None = None
    """Largest probability of unsafe content; None for no bound. A picture that no head could score is dropped too."""
    max_pwatermark: float | None = None
    """The same for watermarks."""
    min_aesthetic: float | None = None
    """Smallest aesthetic score; None for no bound. A picture that no head could score is dropped too."""
    use_similarity: bool = False
    """Ask for the similarity threshold of the pair's language group."""


POLICIES = {
    policy.name: policy
    for policy in (
        Policy(name="none"),
        Policy(name="laion", min_text_length=5, min_bytes=5000, use_similarity=True),
        Policy(
            name="laion_clean",
            min_text_length=5,
            min_bytes=5000,
            drop_file_names=True,
            drop_markup=True,
            use_similarity=True,
        ),
    )
}
"""``none`` keeps every embedded pair; ``laion`` is what LAION-5B published; ``laion_clean`` also drops texts that say
nothing about the picture, whatever their similarity."""


SCORE_BOUNDS: Final[Mapping[str, str]] = {
    "max_punsafe": "unsafe", "max_pwatermark": "watermark", "min_aesthetic": "aesthetic"
}  # fmt: skip
"""The bounds on scores, and what heads measure of each."""


def policy_named(name: str) -> Policy:
    """The policy that released rows call so: the other way round of ``FilterOptions.resolve``.

    Raises:
        ValueError: no policy has this name.
    """
    base, *changes = name.split("+")
    readers: dict[Any, Callable[[str], Any]] = {int: int, bool: lambda text: text == "True", float | None: float}
    known = {f.name: readers[f.type] for f in fields(Policy) if f.name not in {"name", "use_similarity"}}
    values = dict(change.partition("=")[::2] for change in changes)
    if base not in POLICIES or not set(values) <= set(known):
        raise ValueError(f"expected one of {', '.join(POLICIES)} with its changes, got {name!r}")
    return replace(POLICIES[base], name=name, **{bound: known[bound](text) for bound, text in values.items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterOptions:
    """Which policy to filter by, and what to change in it."""

    policy: str = "laion"
    """One of ``POLICIES``: none, laion, laion_clean."""
    min_text_length: int | None = None
    """Characters; None for what the policy says."""
    min_bytes: int | None = None
    """Bytes of the picture as downloaded; None for what the policy says."""
    min_side: int | None = None
    """Pixels of the shorter side of the picture as downloaded; None for what the policy says."""
    max_aspect_ratio: float | None = None
    """Longer over shorter side, at least 1; None for what the policy says."""
    drop_file_names: bool | None = None
    """Whether to drop texts that are the name of a file; None for what the policy says."""
    drop_markup: bool | None = None
    """Whether to drop texts that hold markup; None for what the policy says."""
    max_punsafe: float | None = None
    """Largest probability (0 to 1) of unsafe content; pictures that could not be scored are dropped too; None for what
    the policy says."""
    max_pwatermark: float | None = None
    """The same for watermarks."""
    min_aesthetic: float | None = None
    """Smallest aesthetic score, about 1 to 10; pictures that could not be scored are dropped too; None for what the
    policy says."""
    threshold_en: float | None = None
    """Smallest similarity (cosine, -1 to 1) of English pairs, in place of the encoder's calibrated or published one."""
    threshold_multi: float | None = None
    """The same for pairs in other languages."""
    threshold_nolang: float | None = None
    """The same for pairs without a clear language."""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}")
        for name in ("min_text_length", "min_bytes", "min_side"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if self.max_aspect_ratio is not None and not self.max_aspect_ratio >= 1:
            raise ValueError(f"max_aspect_ratio must be 1 or more, got {self.max_aspect_ratio}")
        for name in ("max_punsafe", "max_pwatermark"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be a probability from 0 to 1, got {value}")
        if self.min_aesthetic is not None and not math.isfinite(self.min_aesthetic):
            raise ValueError(f"min_aesthetic must be a number, got {self.min_aesthetic}")
        for group, threshold in self.thresholds.items():
            if not -1 <= threshold <= 1:
                raise ValueError(f"threshold_{group} must be a cosine from -1 to 1, got {threshold}")

    @property
    def thresholds(self) -> dict[str, float]:
        """The thresholds that are set here, by language group."""
        given = {group: getattr(self, f"threshold_{group}") for group in LANGUAGE_GROUPS}
        return {group: threshold for group, threshold in given.items() if threshold is not None}

    @property
    def score_bounds(self) -> dict[str, str]:
        """The bounds on scores that are set here, and what heads measure of each."""
        return {bound: kind for bound, kind in SCORE_BOUNDS.items() if getattr(self, bound) is not None}

    @property
    def content(self) -> dict[str, Any]:
        """All options, as JSON has them; bounds on scores where they are set: digests are older than they."""
        return {name: value for name, value in asdict(self).items() if value is not None or name not in SCORE_BOUNDS}

    def resolve(self) -> Policy:
        """The policy with what is set here in place of its own bounds.

        Its name tells what was changed, for example ``laion+min_bytes=800``. Thresholds are no part of it: each
        released row has its own.
        """
        policy = POLICIES[self.policy]
        bounds = [field.name for field in fields(Policy) if field.name not in {"name", "use_similarity"}]
        given = {bound: getattr(self, bound) for bound in bounds if getattr(self, bound) is not None}
        changed = {bound: value for bound, value in given.items() if value != getattr(policy, bound)}
        name = "+".join((policy.name, *(f"{bound}={value}" for bound, value in changed.items())))
        return replace(policy, name=name, **changed)
