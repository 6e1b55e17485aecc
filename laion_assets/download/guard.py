"""Which addresses and ports may be connected to. Every address is judged: when looked up, and when connected to.

Looking a name up, checking it, and letting a library look it up again is how DNS rebinding gets in; so no name is
handed on. Proxies of the environment are not used: what stands behind them could not be checked.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from laion_assets.download.addresses import is_metadata, is_public
from laion_assets.download.failures import Failure, FetchFailed
from laion_assets.download.names import Address, Lookup, system_lookup

# fmt: off
_BAD_PORTS = frozenset({
    # The Fetch standard (https://fetch.spec.whatwg.org/#port-blocking), the whole table.
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    # Redis and memcached, which take the lines of a request for commands.
    6379, 11211,
})
# fmt: on


@dataclass(eq=False)
class Guard:
    """Says what may be connected to.

    Args:
        allowed_networks: networks outside the public internet that may be connected to all the same, as CIDRs.
            Link-local addresses and metadata services of clouds stay shut whatever they say.
        lookup: asks a resolver for the addresses of a name.
    """

    allowed_networks: Sequence[str] = ()
    lookup: Lookup = system_lookup
    _judged: dict[str, bool] = field(default_factory=dict)

    def permits(self, address: str) -> bool:
        """Whether this numeric address may be connected to."""
        if address not in self._judged:
            self._judged[address] = not is_metadata(address) and (is_public(address) or self._allowed(address))
        return self._judged[address]

    def permitted(self, host: str, addresses: Sequence[Address]) -> list[Address]:
        """Those addresses of ``host`` that may be connected to.

        Raises:
            FetchFailed: blocked_address: there are none.
        """
        permitted = [found for found in addresses if self.permits(found[1])]
        if not permitted:
            raise blocked(host, *(address for _, address in addresses))
        return permitted

    def _allowed(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address.partition("%")[0])
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return any((mapped or parsed) in ipaddress.ip_network(network) for network in self.allowed_networks)


def blocked(host: str, *addresses: str) -> FetchFailed:
    """What a url fails with whose host is at no other addresses than these, which may not be connected to."""
    return FetchFailed(Failure.BLOCKED_ADDRESS, f"{host} is at {', '.join(addresses)}, outside the public internet")


def is_bad_port(port: int) -> bool:
    """Whether a port belongs to another protocol, so that browsers refuse to ask there."""
    return port in _BAD_PORTS
