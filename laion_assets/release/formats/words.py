"""What is true of every release and said in several places: its limits, its biases, what removals do."""

from typing import Final

from laion_assets.release.facts import ReleaseFacts

LIMITS: Final = (
    "Texts were written for people who do not see a picture, or for search engines; many describe it badly.",
    "A similarity says how a model sees a pair, not whether the text is true.",
    "Links rot: some pictures cannot be downloaded any more, others have changed since; `sha256` tells.",
    "Copies of one picture under several addresses are several pairs.",
    "Languages are guessed from short texts, and often wrongly.",
    "A score that is null was not measured: it does not mean that a picture is safe or free of watermarks.",
    "Nobody looked at every picture. Made for research; not for products without looking.",
)
BIASES: Final = (
    "The web is not the world: English, rich countries, shops and stock photographs are far more frequent there.",
    "A similarity threshold repeats the biases of what the encoder was trained on, between languages and cultures.",
    "Stereotypes, slurs and sexualised pictures of people are in it as they are on the web, in unequal shares.",
    "Sites that keep crawlers out, and pictures whose servers ask not to be used for training, are rarer here.",
)
PERSONAL: Final = (
    "Pictures show people who were not asked, and texts name them.",
    "EXIF tags, where a release has them, may say where and by whom a picture was taken.",
)
LICENSES: Final = frozenset(
    {
        "apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
        "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "odbl",
        "odc-by", "pddl", "unlicense",
    }
)  # fmt: skip
"""Licences that have an identifier, as the hub writes them."""
FEED: Final = "removals.jsonl"


def maintenance(facts: ReleaseFacts) -> str:
    """How removals are asked for, and how they reach copies."""
    return (
        f"Removals are asked for at {facts.contact}. Each is a line of {FEED} beside this file, which only grows: "
        "digests of what is to go, never an address in clear. `laion clean COPY --feed removals.jsonl` takes them out "
        "of a copy of this release."
    )
