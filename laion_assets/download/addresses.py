"""Which numeric addresses belong to the public internet, and which are a cloud's own services: tables of our own.

``ipaddress`` parses and compares here and no more: what its tables call global differs between Python 3.11 and 3.12,
and no registry names what clouds put at public addresses. Sources: the IANA IPv4 and IPv6 Special-Purpose Address
Registries (RFC 6890, RFC 8190; as of October 2025), each row with the document that asked for it, IANA's address space
registries, and the clouds' own documents.
"""

import ipaddress
from collections.abc import Iterator

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address

NOT_PUBLIC_IPV4 = {
    "0.0.0.0/8": "this network, RFC 791 section 3.2",
    "10.0.0.0/8": "private use, RFC 1918",
    "100.64.0.0/10": "shared address space, RFC 6598",
    "127.0.0.0/8": "loopback, RFC 1122 section 3.2.1.3",
    "168.63.129.16/32": "Azure's WireServer: Microsoft Learn, What is IP address 168.63.129.16",
    "169.254.0.0/16": "link local, RFC 3927",
    "172.16.0.0/12": "private use, RFC 1918",
    "192.0.0.0/24": "IETF protocol assignments, RFC 6890 section 2.1: what is reachable there is no web server",
    "192.0.2.0/24": "documentation (TEST-NET-1), RFC 5737",
    "192.88.99.0/24": "6to4 relay anycast, withdrawn, RFC 7526; 6a44 relay, RFC 6751",
    "192.168.0.0/16": "private use, RFC 1918",
    "198.18.0.0/15": "benchmarking, RFC 2544",
    "198.51.100.0/24": "documentation (TEST-NET-2), RFC 5737",
    "203.0.113.0/24": "documentation (TEST-NET-3), RFC 5737",
    "224.0.0.0/4": "multicast, RFC 5771",
    "240.0.0.0/4": "reserved, RFC 1112 section 4; limited broadcast, RFC 919 section 7",
}
"""Networks that no picture is fetched from. All other IPv4 addresses are public."""

PUBLIC_IPV6 = "2000::/3"
"""Global unicast, RFC 4291 section 2.4: all that IANA gives out (IPv6 Address Space registry). Outside of it lie
loopback, discard-only (RFC 6666), SRv6 identifiers (5f00::/16, RFC 9602), unique local (RFC 4193), link local, site
local (RFC 3879), multicast, and every notation for IPv4 addresses but 6to4 and Teredo."""

NOT_PUBLIC_IPV6 = {
    "2001::/23": "IETF protocol assignments, RFC 2928: Teredo (RFC 4380), benchmarking, ORCHID, anycast of protocols",
    "2001:db8::/32": "documentation, RFC 3849",
    "2002::/16": "6to4, RFC 3056: a tunnel to the IPv4 address inside; its relays are withdrawn, RFC 7526",
    "3fff::/20": "documentation, RFC 9637",
}
"""Networks within ``PUBLIC_IPV6`` that no picture is fetched from."""

METADATA = {
    "169.254.0.0/16": "link local: 169.254.169.254 of nearly all clouds, 169.254.170.2 and .23 of AWS's containers",
    "fe80::/10": "link local, RFC 4291 section 2.5.6: fe80::a9fe:a9fe of OpenStack and Akamai",
    "100.100.100.200/32": "Alibaba Cloud: ECS User Guide, Access instance metadata",
    "168.63.129.16/32": "Azure's WireServer: Microsoft Learn, What is IP address 168.63.129.16",
    "192.0.0.192/32": "Oracle Cloud Infrastructure Classic: Retrieving Instance Metadata",
    "fd00:ec2::/32": "AWS: EC2 User Guide: ::254 metadata, ::253 names, ::123 time, ::23 EKS Pod Identity",
    "fd20:ce::254/128": "Google Cloud: Compute Engine, About VM metadata",
    "fd00:c1::a9fe:a9fe/128": "Oracle Cloud Infrastructure: Instance Metadata Service over IPv6",
    "fd00:42::42/128": "Scaleway: cloud-init's reference of data sources",
    "fd00:a9fe:a9fe::1/128": "Akamai (Linode): Metadata Service API",
    "fd00:100::100:200/128": "Alibaba Cloud: ECS User Guide, Access instance metadata over IPv6",
}
"""Services that trust whoever can connect to them, since only a cloud's own machines can: credentials lie there."""

_NOT_PUBLIC = tuple(map(ipaddress.ip_network, (*NOT_PUBLIC_IPV4, *NOT_PUBLIC_IPV6)))
_PUBLIC_IPV6 = ipaddress.IPv6Network(PUBLIC_IPV6)
_METADATA = tuple(map(ipaddress.ip_network, METADATA))

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
_IPV4_IN_LOW_BITS = (
    _MAPPED,
    _NAT64,
    ipaddress.IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 section 2.5.5.1
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765 section 2.1
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_6TO4 = ipaddress.IPv6Network("2002::/16")  # RFC 3056 section 2
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380 section 4
_ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214 section 6.1


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to the public internet.

    An IPv4-mapped address and one of the well-known NAT64 prefix is judged by the IPv4 address in it, which is what is
    connected to. The other notations for IPv4 addresses are not public.

    Args:
        address: An IPv4 or IPv6 address, with or without a zone (``fe80::1%eth0``), which changes nothing.

    Raises:
        ValueError: It is no numeric address.
    """
    parsed, *embedded = _readings(address)
    routed = parsed.version == 4 or _within(parsed, (_PUBLIC_IPV6, _MAPPED, _NAT64))
    return routed and not any(_within(reading, _NOT_PUBLIC) for reading in (parsed, *embedded))


def is_metadata(address: str) -> bool:
    """Whether a numeric address is link local or a cloud's metadata or instance service, in any notation.

    Such an address stays shut whatever else is allowed.

    Args:
        address: An IPv4 or IPv6 address, with or without a zone.

    Raises:
        ValueError: It is no numeric address.
    """
    return any(_within(reading, _METADATA) for reading in _readings(address))


def _within(address: IPv4 | IPv6, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)


def _ipv4(bits: int) -> IPv4:
    return IPv4(bits & 0xFFFF_FFFF)


def _readings(text: str) -> Iterator[IPv4 | IPv6]:
    """An address, and each IPv4 address that some translator or tunnel reads out of it."""
    address = ipaddress.ip_address(text.partition("%")[0])
    yield address
    if isinstance(address, IPv4):
        return
    bits = int(address)
    if _within(address, _IPV4_IN_LOW_BITS):
        yield _ipv4(bits)
    elif address in _LOCAL_NAT64:
        # A network chooses one of these lengths of prefix (RFC 6052 section 2.2); bits 64 to 71 hold no address.
        yield _ipv4(bits >> 48 & 0xFFFF_0000 | bits >> 40 & 0xFFFF)
        yield _ipv4(bits >> 40 & 0xFF00_0000 | bits >> 32 & 0xFF_FFFF)
        yield _ipv4(bits >> 24)
        yield _ipv4(bits)
    elif address in _6TO4:
        yield _ipv4(bits >> 80)
    elif address in _TEREDO:
        yield _ipv4(bits >> 64)
        yield _ipv4(~bits)
    if bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield _ipv4(bits)
