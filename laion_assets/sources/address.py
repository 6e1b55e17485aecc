"""A source's address: what may be shown of it, and the credentials in it that never are.

Errors, logs, tables and Dagster's pages speak of a source by its ``uri``. User name, password and query are kept apart
from it here, and reach nobody but the connections.
"""

import base64
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote

from laion_assets.urls import parse_http_url

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_PORT_OR_NOTHING = re.compile(r"[^:]*(?:\]|:\d{0,5})?")
_USER_INFO = re.compile(r"[^/\s@]*:[^\s]*@")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A source's address taken apart."""

    uri: str
    """The address without credentials, query, fragment and trailing slash: fit to be shown and kept."""
    scheme: str = ""
    """In lower case; empty for a path."""
    user: str = field(default="", repr=False)
    """The user name, or the key's id; percent-decoded."""
    password: str = field(default="", repr=False)
    """The password, or the key's secret; percent-decoded."""
    query: str = field(default="", repr=False)
    """What follows the ``?``, a signature or token, say; as written."""

    @property
    def authorization(self) -> dict[str, str]:
        """The header that HTTP's basic authentication asks for (RFC 7617); none where there are no credentials."""
        if not self.user and not self.password:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def url(self, path: str) -> str:
        """The url that is asked for a file: ``path`` (percent-encoded) below the address, and the query."""
        return f"{self.uri}/{path}" + (f"?{self.query}" if self.query else "")

    def hide(self, text: str) -> str:
        """What another library says, without the credentials."""
        for secret in (self.query, self.password, unquote(self.query)):
            text = text.replace(secret, "…") if secret else text
        return text


def parse_address(given: str) -> Address:
    """Take a source's address apart; nothing about it is found wrong here.

    A password may hold any character, also those that should have been percent-encoded (secrets of S3 keys hold ``/``):
    where the part before the first ``/`` cannot be a host and port, all before the last ``@`` is user information.

    Args:
        given: The address as somebody wrote it.

    Returns:
        Its parts; of a folder's path the whole as ``uri``.
    """
    given = given.strip()
    named = _SCHEME.match(given)
    scheme = named[1].lower() if named else ""
    rest = given[named.end() :] if named else ""
    if scheme in ("http", "https"):
        rest = "//" + rest.lstrip("/\\")  # as the URL standard reads them
    if not rest.startswith("//"):
        return Address(uri=given, scheme=scheme if scheme == "file" else "")
    user_info, tail = _user_info(rest[2:])
    tail, _, _ = tail.partition("#") if scheme != "s3" else (tail, "", "")
    tail, _, query = tail.partition("?")
    uri = f"{scheme}://{tail.rstrip('/')}"
    if scheme in ("http", "https"):
        with suppress(ValueError):  # whoever opens it says what is wrong
            uri = parse_http_url(uri).href.rstrip("/")
    user, _, password = user_info.partition(":")
    return Address(uri=uri, scheme=scheme, user=unquote(user), password=unquote(password), query=query)


def shown(text: str) -> str:
    """What may be shown of an address that somebody gave or a list names, whatever it looks like."""
    address = parse_address(text)
    return address.uri if address.scheme else _USER_INFO.sub("", address.uri, count=1)


def _user_info(rest: str) -> tuple[str, str]:
    """User information, and what comes after it, out of all that follows ``//``."""
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    if "@" not in authority and (_PORT_OR_NOTHING.fullmatch(authority) or "@" not in rest):
        return "", rest
    user_info, _, _ = (authority if "@" in authority else rest).rpartition("@")
    return user_info, rest[len(user_info) + 1 :]


class _WithoutQueries(logging.Filter):
    """Takes queries out of the urls that urllib3 logs: tokens and signatures stand there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                argument.partition("?")[0] if isinstance(argument, str) else argument for argument in record.args
            )
        return True


for _name in ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_WithoutQueries())
