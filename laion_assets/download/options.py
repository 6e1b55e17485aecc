"""How pictures are fetched, checked and stored: the options a user may set, and their ranges."""

import ipaddress
from dataclasses import dataclass

RESIZE_MODES = ("no", "keep_ratio", "center_crop", "border", "keep_ratio_largest")
ENCODE_FORMATS = ("jpg", "png", "webp")


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadOptions:
    """Limits, manners and picture format of a download.

    Raises:
        ValueError: a value is out of its range; the message names the option, the range and the value.
    """

    processes: int = 2
    """Worker processes; each downloads one tar at a time."""
    threads: int = 64
    """Transfers at once in each worker process, all in one thread. Memory is bounded by 2 * threads * max_bytes a
    process."""
    connections_per_host: int = 16
    """Requests under way to one host, and to one address, at a time, over all worker processes together."""
    delay_seconds: float = 0.0
    """Least time between the beginnings of two requests to one host, and to one address, in seconds."""
    timeout_seconds: float = 10.0
    """Longest wait for a name lookup, for a connection and for the next bytes of an answer, in seconds."""
    deadline_seconds: float = 30.0
    """Longest time for one url, from its first connection to its last byte, with redirects and retries, in seconds."""
    retries: int = 1
    """Further tries of a url after a broken transfer or a 408, 429, 502, 503 or 504 answer, within the deadline."""
    retry_delay_seconds: float = 0.5
    """Pause before a further try, in seconds; a server's Retry-After goes before it where it fits the deadline."""
    redirects: int = 5
    """Redirects followed for one url."""
    max_bytes: int = 20_000_000
    """Largest body accepted, in bytes, before and after undoing a content encoding."""
    agent: str = "laion-lakehouse"
    """Product token of the User-Agent header; X-Robots-Tag directives addressed to it are honoured."""
    contact: str = ""
    """E-mail address or page, put into the User-Agent header, where the owner of a site reaches whoever runs this."""
    allowed_networks: tuple[str, ...] = ()
    """Networks outside the public internet that may be connected to all the same, such as 127.0.0.0/8. Link-local
    addresses and the metadata services of clouds stay shut whatever stands here."""
    ca_bundle: str | None = None
    """PEM file of the certificates that servers' own are verified against; None: the system's store."""
    respect_opt_outs: bool = True
    """Whether a picture is refused whose host, answer or own metadata says no: robots.txt with Content-Usage and
    Content-Signal, tdmrep.json, ai.txt; X-Robots-Tag (noai, noimageai, noml, noindex, noimageindex, none, or an
    unavailable_after that is past), tdm-reservation, Content-Usage; Data Mining in XMP, C2PA."""
    ask_hosts: bool = True
    """Whether hosts are asked, once a day each, for robots.txt, tdmrep.json and ai.txt before their pictures."""
    image_size: int = 512
    """Size in pixels that resizing aims at (which side: see resize_mode)."""
    resize_mode: str = "keep_ratio_largest"
    """img2dataset's resize mode: no, keep_ratio, center_crop, border or keep_ratio_largest."""
    resize_only_if_bigger: bool = True
    """Whether pictures smaller than image_size keep their size."""
    encode_format: str = "jpg"
    """Format pictures are stored in: jpg, png or webp."""
    encode_quality: int = 95
    """JPEG or WebP quality (0 to 100), or PNG compression level (0 to 9)."""
    skip_reencode: bool = True
    """Whether a picture already in encode_format that needs no resizing is stored as it came, without its metadata.
    Pictures with 16 bits, another EXIF orientation than upright, transparency or several frames never are."""
    min_image_size: int = 0
    """Smallest side accepted, in pixels."""
    max_image_area: int = 89_478_484
    """Largest area accepted, in pixels; checked in the header, before anything is decoded. Whatever it is, a picture
    whose decoding would take more than 750 MB is refused."""
    max_aspect_ratio: float = 1000.0
    """Largest ratio accepted of the long side to the short side."""
    urls_per_tar: int = 10_000
    """Most urls attempted for one tar file."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"download option {name} must lie between {low} and {high}, not be {value}")
        for name, allowed in (("resize_mode", RESIZE_MODES), ("encode_format", ENCODE_FORMATS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"download option {name} must be one of {', '.join(allowed)}, not {value!r}")
        if self.encode_format == "png" and self.encode_quality > 9:
            raise ValueError(
                f"download option encode_quality is a compression level of 0 to 9 for png, not {self.encode_quality}"
            )
        object.__setattr__(self, "allowed_networks", tuple(map(_network, self.allowed_networks)))
        for name in ("agent", "contact"):
            value = getattr(self, name)
            if not value.isprintable() or not value.isascii() or any(c in value for c in "()"):
                raise ValueError(f"download option {name} must be printable ASCII without parentheses, not {value!r}")
        if not self.agent or not all(c.isalnum() or c in "-_.!#$%&'*+^`|~" for c in self.agent):
            raise ValueError(f"download option agent must be one word such as 'laion-lakehouse', not {self.agent!r}")

    @property
    def user_agent(self) -> str:
        """The User-Agent header: product, purpose and contact."""
        contact = f"; +{self.contact}" if self.contact else ""
        return f"{self.agent}/1.0 (pictures for research data sets{contact})"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(
            f"download option allowed_networks must name networks such as '127.0.0.0/8' or '::1/128', not {text!r}"
        ) from error


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("processes", 1, 1024),
    ("threads", 1, 4096),
    ("connections_per_host", 1, 4096),
    ("delay_seconds", 0, 3600),
    ("timeout_seconds", 0.001, 3600),
    ("deadline_seconds", 0.001, 3600),
    ("retries", 0, 10),
    ("retry_delay_seconds", 0, 600),
    ("redirects", 0, 50),
    ("max_bytes", 1, 2**31 - 1),
    ("image_size", 1, 16_384),
    ("encode_quality", 0, 100),
    ("min_image_size", 0, 65_535),
    ("max_image_area", 1, 2**30),
    ("max_aspect_ratio", 1, 1e9),
    ("urls_per_tar", 1, 1_000_000),
)
