"""No address here is connected to: each is judged, beside the document that says what it is."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laion_assets.download.addresses import METADATA, NOT_PUBLIC_IPV4, NOT_PUBLIC_IPV6, is_metadata, is_public

# First and last address of a network, and the public neighbours outside ("" where the neighbour is not public either).
EDGES = [
    # IANA IPv4 Special-Purpose Address Registry
    ("0.0.0.0", "0.255.255.255", "", "1.0.0.0", "RFC 791 section 3.2, this network"),
    ("10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0", "RFC 1918, private"),
    ("100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0", "RFC 6598, shared"),
    ("127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0", "RFC 1122 section 3.2.1.3, loopback"),
    ("169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0", "RFC 3927, link local"),
    ("172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0", "RFC 1918, private"),
    ("192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0", "RFC 6890 section 2.1, IETF protocols"),
    ("192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0", "RFC 5737, documentation"),
    ("192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0", "RFC 7526, 6to4 relays"),
    ("192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0", "RFC 1918, private"),
    ("198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0", "RFC 2544, benchmarking"),
    ("198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0", "RFC 5737, documentation"),
    ("203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0", "RFC 5737, documentation"),
    ("224.0.0.0", "239.255.255.255", "223.255.255.255", "", "RFC 5771, multicast"),
    ("240.0.0.0", "255.255.255.255", "", "", "RFC 1112 section 4 and RFC 919 section 7"),
    # Microsoft Learn, "What is IP address 168.63.129.16"
    ("168.63.129.16", "168.63.129.16", "168.63.129.15", "168.63.129.17", "Azure's WireServer"),
    # IANA IPv6 Special-Purpose Address Registry and IPv6 Address Space registry
    ("::", "::", "", "", "RFC 4291 section 2.5.2, unspecified"),
    ("::1", "::1", "", "", "RFC 4291 section 2.5.3, loopback"),
    ("::7f00:1", "::ffff:ffff", "", "", "RFC 4291 section 2.5.5.1, IPv4-compatible"),
    ("::ffff:0:0:0", "::ffff:0:ffff:ffff", "", "", "RFC 2765 section 2.1, IPv4-translated"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "", "", "RFC 8215, local NAT64"),
    ("100::", "100::ffff:ffff:ffff:ffff", "", "", "RFC 6666, discard-only"),
    ("100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", "", "", "RFC 9780, dummy prefix"),
    ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "200::", "2000::", "", "outside of RFC 4291's 2000::/3"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff:ffff::", "2001:200::", "RFC 2928, protocols"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff::", "2001:db9::", "RFC 3849"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff:ffff::", "2003::", "RFC 3056, 6to4"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff:ffff::", "3fff:1000::", "RFC 9637"),
    ("4000::", "5eff:ffff::", "3fff:ffff:ffff::", "", "outside of RFC 4291's 2000::/3"),
    ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "RFC 9602, SRv6 identifiers"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "RFC 4193, unique local"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "RFC 4291 section 2.5.6, link local"),
    ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "RFC 3879, site local"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "", "RFC 4291 section 2.7, multicast"),
]


@pytest.mark.parametrize(("first", "last", "before", "after", "source"), EDGES, ids=[edge[4] for edge in EDGES])
def test_a_network_that_is_not_public_ends_where_its_document_says(first, last, before, after, source):
    assert not is_public(first)
    assert not is_public(last)
    for outside in filter(None, (before, after)):
        assert is_public(outside)


def test_every_network_of_the_tables_is_tried_at_its_edges():
    tried = {address for edge in EDGES for address in edge[:2]}
    for network in map(ipaddress.ip_network, [*NOT_PUBLIC_IPV4, *NOT_PUBLIC_IPV6]):
        assert {str(network.network_address), str(network.broadcast_address)} <= tried


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.0.1", "RFC 6333, DS-Lite"),
        ("192.0.0.8", "RFC 7600, dummy address"),
        ("192.0.0.9", "RFC 7723, PCP anycast: the nearest server of one's own network"),
        ("192.0.0.10", "RFC 8155, TURN anycast: the nearest server of one's own network"),
        ("192.0.0.170", "RFC 7050, NAT64/DNS64 discovery"),
        ("192.0.0.192", "Oracle, Retrieving Instance Metadata"),
        ("192.88.99.1", "RFC 3068, 6to4 relay"),
        ("192.88.99.2", "RFC 6751, 6a44 relay"),
        ("255.255.255.255", "RFC 919 section 7, limited broadcast"),
        ("2001::1", "RFC 4380, Teredo"),
        ("2001:1::1", "RFC 7723, PCP anycast"),
        ("2001:2::1", "RFC 5180, benchmarking"),
        ("2001:10::1", "RFC 4843, ORCHID"),
        ("2001:20::1", "RFC 7343, ORCHIDv2: names, no places"),
        ("2001:30::1", "RFC 9374, DRIP: names, no places"),
        ("2002:808:808::1", "RFC 3056, 6to4 of 8.8.8.8: a tunnel"),
        ("2002:7f00:1::", "RFC 3056, 6to4 of 127.0.0.1"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "RFC 4380 section 4, the Teredo address of 192.0.2.45"),
        ("2606:4700::5efe:10.0.0.1", "RFC 5214 section 6.1, ISATAP to 10.0.0.1"),
        ("2606:4700::200:5efe:127.0.0.1", "RFC 5214 section 6.1, ISATAP to 127.0.0.1"),
        ("fe80::1%eth0", "RFC 4007 section 11, with its zone"),
        ("127.0.0.1%lo", "a zone hides nothing"),
    ],
)
def test_addresses_of_protocols_and_tunnels_are_not_public(address, source):
    assert not is_public(address)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("8.8.8.8", "dns.google"),
        ("93.184.216.34", "ARIN, NET-93-184-216-0-1"),
        ("192.31.196.1", "RFC 7535, AS112: globally reachable in the registry"),
        ("192.52.193.1", "RFC 7450, AMT: globally reachable in the registry"),
        ("192.175.48.1", "RFC 7534, AS112: globally reachable in the registry"),
        ("2606:2800:220:1::1", "ARIN"),
        ("2606:2800:220:1::1%eth0", "a zone changes nothing"),
        ("2620:4f:8000::1", "RFC 7534, AS112: globally reachable in the registry"),
        ("2a00:1450:4001:80b::200e", "RIPE NCC"),
        ("2001:4860:4860::8888", "dns.google, beyond 2001::/23"),
        ("::ffff:8.8.8.8", "RFC 4291 section 2.5.5.2: IPv4 is spoken to 8.8.8.8"),
        ("64:ff9b::808:808", "RFC 6052 section 2.1: translated to 8.8.8.8"),
        ("2606:4700::5efe:8.8.8.8", "RFC 5214: ISATAP to 8.8.8.8"),
    ],
)
def test_addresses_of_the_public_internet_are_public(address, source):
    assert is_public(address)
    assert not is_metadata(address)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("169.254.169.254", "AWS, Azure, Google Cloud, Oracle Cloud, DigitalOcean, Hetzner, OpenStack"),
        ("169.254.169.253", "AWS, Amazon DNS server"),
        ("169.254.169.123", "AWS, Amazon Time Sync Service"),
        ("169.254.170.2", "AWS, ECS task metadata and credentials"),
        ("169.254.170.23", "AWS, EKS Pod Identity Agent"),
        ("169.254.42.42", "Scaleway, instance metadata"),
        ("169.254.0.23", "Tencent Cloud, metadata"),
        ("100.100.100.200", "Alibaba Cloud, ECS instance metadata"),
        ("168.63.129.16", "Azure, WireServer"),
        ("192.0.0.192", "Oracle Cloud Infrastructure Classic"),
        ("fd00:ec2::254", "AWS, EC2 User Guide: IPv6 endpoint of the metadata service"),
        ("fd00:ec2::253", "AWS, Amazon DNS server"),
        ("fd00:ec2::23", "AWS, EKS Pod Identity Agent"),
        ("FD00:EC2:0::254", "the same, written otherwise (RFC 4291 section 2.2)"),
        ("fd20:ce::254", "Google Cloud, machines with IPv6 alone"),
        ("fd00:c1::a9fe:a9fe", "Oracle Cloud Infrastructure"),
        ("fd00:42::42", "Scaleway"),
        ("fd00:a9fe:a9fe::1", "Akamai (Linode)"),
        ("fe80::a9fe:a9fe", "OpenStack, Akamai"),
        ("fe80::a9fe:a9fe%eth0", "the same with its zone"),
        ("fd00:100::100:200", "Alibaba Cloud"),
    ],
)
def test_the_services_of_a_cloud_are_neither_public_nor_ever_allowed(address, source):
    assert is_metadata(address)
    assert not is_public(address)


@pytest.mark.parametrize(
    "wrapped",
    [
        "::ffff:169.254.169.254",  # RFC 4291 section 2.5.5.2
        "::ffff:168.63.129.16",
        "::ffff:192.0.0.192",
        "::ffff:100.100.100.200",
        "::a9fe:a9fe",  # RFC 4291 section 2.5.5.1
        "::ffff:0:169.254.169.254",  # RFC 2765 section 2.1
        "64:ff9b::a9fe:a9fe",  # RFC 6052 section 2.1
        "64:ff9b:1:a9fe:a9:fe00::",  # RFC 6052 section 2.2, prefix of 48 bits
        "64:ff9b:1:1a9:fe:a9fe::",  # of 56 bits
        "64:ff9b:1:1:a9:fea9:fe00:0",  # of 64 bits
        "64:ff9b:1::a9fe:a9fe",  # of 96 bits
        "2002:a9fe:a9fe::1",  # RFC 3056 section 2
        "2001:0:a9fe:a9fe::1",  # RFC 4380 section 4, the server
        "2001:0:808:808::5601:5601",  # RFC 4380 section 4, the client, its bits turned over
        "2606:4700::5efe:169.254.169.254",  # RFC 5214 section 6.1
    ],
)
def test_an_address_of_a_cloud_stays_shut_in_every_notation(wrapped):
    assert is_metadata(wrapped)
    assert not is_public(wrapped)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "100.64.0.1", "100.100.100.199", "fd00::1", "::ffff:127.0.0.1", "::"]
)
def test_private_addresses_can_be_allowed(address):
    assert not is_metadata(address)


def test_every_service_of_the_table_ends_where_its_network_ends():
    for network in map(ipaddress.ip_network, METADATA):
        assert is_metadata(str(network.network_address))
        assert is_metadata(str(network.broadcast_address))
        assert not is_metadata(str(network.network_address - 1))
        assert not is_metadata(str(network.broadcast_address + 1))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(address):
    assert is_public(f"::ffff:{address}") == is_public(f"64:ff9b::{address}") == is_public(str(address))
    assert is_metadata(f"::ffff:{address}") == is_metadata(f"64:ff9b::{address}") == is_metadata(str(address))


@given(st.ip_addresses())
def test_no_address_is_both_public_and_a_service_of_a_cloud(address):
    assert not (is_public(str(address)) and is_metadata(str(address)))


@pytest.mark.parametrize("text", ["", "localhost", "256.1.1.1", "1.2.3", "0177.0.0.1", "::g", "%eth0"])
def test_what_is_no_numeric_address_is_an_error(text):
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        is_public(text)
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        is_metadata(text)
