"""Which signals are obeyed, and what they decide of a pair: the first that refuses it, and those that are passed over.

What was said is kept whatever the policy is; here it is asked. Signals of different specifications do not lift each
other: the strictest holds. Within TDMRep what is nearer lifts what is farther, see ``Signal.yields_to``.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from laion_assets.consent.signals import SIGNALS, Use

_INDEX: Final = "index"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsentOptions:
    """Which signals keep a picture out of what is learned from; as delivered all that are known."""

    x_robots_page: bool = True
    """Whether a page's header X-Robots-Tag is obeyed: noai, noimageai, noml."""
    tdm_header_page: bool = True
    """Whether a page's header tdm-reservation is obeyed."""
    content_usage_page: bool = True
    """Whether a page's header Content-Usage is obeyed: train-ai=n."""
    meta_robots: bool = True
    """Whether a page's meta element robots, or one by this lakehouse's name, is obeyed: noai, noimageai, noml."""
    tdm_meta: bool = True
    """Whether a page's meta element tdm-reservation is obeyed."""
    robots_txt: bool = True
    """Whether a host's robots.txt is obeyed: Disallow."""
    content_usage_robots: bool = True
    """Whether Content-Usage in a host's robots.txt is obeyed."""
    content_signal: bool = True
    """Whether Content-Signal in a host's robots.txt is obeyed."""
    ai_txt: bool = True
    """Whether a host's ai.txt is obeyed."""
    tdmrep_file: bool = True
    """Whether a host's tdmrep.json is obeyed."""
    x_robots_tag: bool = True
    """Whether the header X-Robots-Tag of a picture's answer is obeyed, noindex and noimageindex too."""
    tdm_header: bool = True
    """Whether the header tdm-reservation of a picture's answer is obeyed."""
    content_usage: bool = True
    """Whether the header Content-Usage of a picture's answer is obeyed."""
    iptc_data_mining: bool = True
    """Whether Data Mining in a picture's XMP is obeyed."""
    c2pa: bool = True
    """Whether a training and data mining assertion in a picture's C2PA manifest is obeyed."""
    ask_days: int | None = None
    """Days after which owners are asked again what they allow before a release is made or a recipe trained; 0: always.
    None: nobody is asked on that occasion."""
    index: bool = False
    """Whether a no to being found and shown (noindex, noimageindex, none, search=n) keeps a picture out, too."""

    def __post_init__(self) -> None:
        if self.ask_days is not None and self.ask_days < 0:
            raise ValueError(f"consent option ask_days must not be negative, as {self.ask_days} is")

    @property
    def uses(self) -> tuple[Use, ...]:
        """What a signal must forbid to keep a picture out."""
        return ("train", "index") if self.index else ("train",)

    @property
    def obeyed(self) -> tuple[str, ...]:
        """The signals that are obeyed, of those that a policy may pass over."""
        return tuple(name for name in SWITCHED if getattr(self, name))

    @property
    def content(self) -> dict[str, Any] | None:
        """What counts of the options for what pages say, as JSON has it: those not as delivered; None where all are."""
        usual = ConsentOptions()
        counts = (*OF_PAGES, _INDEX)
        return {n: value for n, value in asdict(self).items() if n in counts and value != getattr(usual, n)} or None


SWITCHED: Final = tuple(option.name for option in fields(ConsentOptions) if option.name in SIGNALS)
"""The signals that a policy may pass over."""
OF_PAGES: Final = tuple(name for name in SWITCHED if SIGNALS[name].subject == "page")
"""Those of them by which pages speak, whatever becomes of their pictures."""


def refusing_sql(said: str, options: ConsentOptions) -> str:
    """SQL: the signals that refuse what one page shows, a list; null where nothing was said.

    Args:
        said: SQL expression of what was said: a list of structs with ``signal`` and ``forbids``.
        options: the policy.
    """
    obeyed = [name for name in options.obeyed if name in OF_PAGES]
    lifted = [
        f"said.signal = '{name}' AND list_has_any(list_transform({said}, lambda other: other.signal), {nearer})"
        for name in obeyed
        if (nearer := [other for other in SIGNALS[name].yields_to if other in obeyed])
    ]
    conditions = [f"list_contains({obeyed}, said.signal)", *(f"NOT ({one})" for one in lifted)]
    return _signals_sql(said, options, " AND ".join(conditions))


def passed_over_sql(said: str, options: ConsentOptions) -> str:
    """SQL: the signals that would refuse it and are not obeyed, a list; null where nothing was said."""
    return _signals_sql(said, options, f"NOT list_contains({[*options.obeyed]}, said.signal)")


def _signals_sql(said: str, options: ConsentOptions, condition: str) -> str:
    forbidding = f"lambda said: list_has_any(said.forbids, {[*options.uses]}) AND {condition}"
    return f"list_transform(list_filter({said}, {forbidding}), lambda said: said.signal)"
