from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.web.addresses import AddressRules, is_public
from rag.errors import InvalidSettings, SourceAddressRefused, SourceUnreachable

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",  # noqa: S104
    "169.254.169.254", "168.63.129.16",
    "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "203.0.113.5", "224.0.0.1",
    "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd12::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "::7f00:1", "2001:db8::1", "3fff::1", "100::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.fixture
def names(monkeypatch) -> dict[str, list[str]]:
    """What names resolve to; an address resolves to itself."""
    known: dict[str, list[str]] = {}

    def resolve(host: str, port: int, **_: object) -> list[tuple]:
        return [(0, 0, 0, "", (address, port)) for address in known.get(host, [host])]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_what_carries_an_address_is_as_private_as_that(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    nat64 = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    assert is_public(mapped) == is_public(nat64) == is_public(address)
    if is_public(address):
        assert address.is_global


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_one_is_refused(names, address: str) -> None:
    names["innocent.example"] = [address]
    with pytest.raises(SourceAddressRefused, match=r"innocent\.example leads to"):
        AddressRules().addresses("innocent.example", 80)


def test_a_private_address_beside_a_public_one_is_refused(names) -> None:
    names["both.example"] = ["1.1.1.1", "10.0.0.1"]
    with pytest.raises(SourceAddressRefused):
        AddressRules().addresses("both.example", 443)


def test_link_local_addresses_with_a_zone_are_refused(names) -> None:
    names["zone.example"] = ["fe80::1%eth0"]
    with pytest.raises(SourceAddressRefused):
        AddressRules().addresses("zone.example", 443)


def test_what_a_setting_names_is_allowed_and_no_more(names) -> None:
    names["wiki.example"] = names["other.example"] = ["10.1.2.3"]
    by_name, by_network = AddressRules(["WIKI.example."]), AddressRules(["10.1.0.0/16"])
    assert by_name.addresses("wiki.example", 80) == ["10.1.2.3"]
    assert by_network.addresses("other.example", 80) == ["10.1.2.3"]
    assert by_network.addresses("::ffff:10.1.2.3", 80) == ["::ffff:10.1.2.3"]
    with pytest.raises(SourceAddressRefused, match=r"RAG_FETCH_ALLOW=other\.example"):
        by_name.addresses("other.example", 80)
    with pytest.raises(SourceAddressRefused):
        by_network.addresses("10.2.0.1", 80)


@pytest.mark.parametrize("entry", ["10.0.0.0/40", "a b", "http://h", "-", "h/24"])
def test_an_entry_that_is_nothing_is_refused(entry: str) -> None:
    with pytest.raises(InvalidSettings, match="RAG_FETCH_ALLOW"):
        AddressRules([entry])


def test_a_name_without_address(monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SourceUnreachable, match="Name or service"):
        AddressRules().addresses("nowhere.example", 80)


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "0x7f.1", "2130706433", "::1", "10.0.0.1"])
def test_behind_a_proxy_what_is_written_as_an_address_is_checked(host: str) -> None:
    with pytest.raises(SourceAddressRefused):
        AddressRules().check_literal(host)


def test_behind_a_proxy_names_are_the_proxys() -> None:
    AddressRules().check_literal("h.example")
    AddressRules().check_literal("1.1.1.1")
    AddressRules(["localhost"]).check_literal("localhost")
