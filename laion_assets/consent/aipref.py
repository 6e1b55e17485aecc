"""AIPREF's Content-Usage field: what may be done with what is served.

Sources: IETF drafts draft-ietf-aipref-vocab (categories of use, the most restrictive of several statements holds) and
draft-ietf-aipref-attach (the field, a dictionary of RFC 9651 with the tokens ``y`` and ``n``).
"""

import re
from collections.abc import Iterable
from typing import Final

from laion_assets.consent.signals import Use

CATEGORIES: Final[dict[str, Use]] = {"train-ai": "train", "search": "index"}
"""The categories that are known, and the use that each is about."""

# A member of a dictionary (RFC 9651, section 3.2): a key, perhaps a value, perhaps parameters of it. Commas and
# semicolons within a quoted string separate nothing.
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_MEMBERS: Final = re.compile(rf"(?:{_QUOTED}|[^,])+")
_MEMBER: Final = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)=([yn])[ \t]*(?:;.*)?", re.DOTALL)


def content_usage(fields: Iterable[str]) -> dict[Use, bool]:
    """What the values of Content-Usage fields say: by use, whether it is allowed; uses they say nothing of are absent.

    A no of one outweighs a yes of another. Unknown categories, and values other than ``y`` and ``n``, say nothing, and
    so does a member that is malformed; the others beside it count, so that a slip takes no no away.
    """
    said: dict[Use, bool] = {}
    for field in fields:
        for member in _MEMBERS.findall(field):
            found = _MEMBER.fullmatch(member)
            use = CATEGORIES.get(found[1]) if found else None
            if found and use:
                said[use] = said.get(use, True) and found[2] == "y"
    return said
