"""The colours of charts, in light and in dark, and what each class of a shape looks like."""

from typing import Final

LIGHT: Final = {
    "paper": "#ffffff", "line": "#dde2e6", "ink": "#1a1d21", "soft": "#59626c",
    "en": "#2f6fb7", "multi": "#c25c14", "nolang": "#7b68ae", "all": "#0b6a6e",
    "c0": "#2f6fb7", "c1": "#c25c14", "c2": "#7b68ae", "c3": "#4b8a3a",
    "c4": "#a03a78", "c5": "#8a6d00", "c6": "#5a6570", "c7": "#b3261e",
}  # fmt: skip
DARK: Final = {
    "paper": "#14171a", "line": "#323a41", "ink": "#e6e9ec", "soft": "#a2acb6",
    "en": "#6aa9ec", "multi": "#f0995a", "nolang": "#b3a3e0", "all": "#63c4c4",
    "c0": "#6aa9ec", "c1": "#f0995a", "c2": "#b3a3e0", "c3": "#8cc97a",
    "c4": "#e58bc0", "c5": "#d8b840", "c6": "#9aa5b0", "c7": "#ff8a80",
}  # fmt: skip
AREAS: Final = ("en", "multi", "nolang", "all", "pale")
"""Tones of areas; those of marks and lines are numbered."""


def style() -> str:
    """CSS for a page with charts, or for a chart that stands alone: variables for its colours, and rules for shapes."""
    numbered = [name for name in LIGHT if name[1:].isdigit()]
    return "\n".join(
        [
            f":root {{ {_variables(LIGHT)} }}",
            f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}",
            *(f".{tone} {{ fill: var(--{tone}); stroke: none; }}" for tone in AREAS[:-1]),
            *(f".{tone} {{ fill: var(--{tone}); stroke: var(--{tone}); }}" for tone in numbered),
            _SHAPES,
        ]
    )


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


_SHAPES: Final = """\
.pale { opacity: 0.32; }
svg [class=pale] { fill: var(--soft); }
svg text { fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .strong { fill: var(--ink); font-weight: 600; }
svg .rule { stroke: var(--line); }
svg .mark { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg .line { fill: none; stroke-width: 2; }
svg .dotted { stroke-width: 1.5; stroke-dasharray: 1.5 4; stroke-linecap: round; }
svg .span { fill: none; stroke-width: 1.25; opacity: 0.75; }
svg .equal { fill: none; stroke: var(--soft); stroke-dasharray: 4 4; opacity: 0.7; }
svg .expected { fill: var(--paper); stroke: var(--soft); }
svg .distance { fill: none; stroke: var(--soft); stroke-width: 2.2; opacity: 0.5; }"""
