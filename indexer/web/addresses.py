"""Which network addresses may be connected to: public ones, and those that a setting names.

A page, a redirect or a sitemap can lead anywhere: without this, to services that only this machine or network reaches
(server-side request forgery). The check is of the address that is connected to, not of a name.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Final

from rag.errors import InvalidSettings, SourceAddressRefused, SourceUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
# What carries another address inside (6to4, Teredo, NAT64 of one's own network, IPv4-compatible), or is deprecated.
_TUNNELS: Final = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/23", "64:ff9b:1::/48", "::/96", "fec0::/10")))
# Not reachable in the Internet; named here since Python's tables of these differ by its version.
_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.ip_network,
        ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "224.0.0.0/3", "3fff::/20"),
    )
)
_AZURES_HOST: Final = ipaddress.ip_address("168.63.129.16")  # a public address that answers Azure's machines alone
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


def is_public(address: Address) -> bool:
    """Whether an address is of the public Internet, an IPv4 address within an IPv6 one by what it is itself."""
    address = plain(address)
    nets = (*_TUNNELS, *_NOT_PUBLIC)
    if any(address.version == net.version and address in net for net in nets):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address == _AZURES_HOST)


def plain(address: Address) -> Address:
    """The IPv4 address that an IPv4-mapped or NAT64 address stands for; any other as it is."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


class AddressRules:
    """Resolves names to addresses that may be connected to. ``allowed`` are host names, addresses and networks."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """Raises InvalidSettings: an entry is neither."""
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                name = entry.lower().rstrip(".")
                if not _NAME.fullmatch(name) or "/" in name:
                    raise InvalidSettings(
                        f"RAG_FETCH_ALLOW: {entry!r} is no host name, address or network.",
                        hint="Write names and networks with commas, e.g. wiki.example.org,10.0.0.0/8.",
                    ) from None
                self._hosts.add(name)

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be connected to.

        Raises:
            SourceAddressRefused: one of them may not; a name with both kinds is not trusted with the public one.
            SourceUnreachable: the host has no address.
        """
        found = list(dict.fromkeys(_resolved(host, port)))
        refused = [text for text in found if not self._may_reach(host, text)]
        if refused:
            self.refuse(host, refused[0])
        return found

    def check_literal(self, host: str) -> None:
        """Raises SourceAddressRefused: the host is itself an address, or a name of this machine, that is not allowed.

        All that can be told without resolving: behind a proxy the proxy resolves.
        """
        if host in self._hosts:
            return
        if host == "localhost" or host.endswith(".localhost"):
            self.refuse(host, host)
        try:
            address = ipaddress.ip_address(_packed(host))
        except OSError:
            return
        if not self._may_reach(host, str(address)):
            self.refuse(host, str(address))

    def refuse(self, host: str, address: str) -> None:
        """Raises SourceAddressRefused, always."""
        leads = "" if address == host else f" leads to {address}, which"
        raise SourceAddressRefused(
            f"{host}{leads} is not a public address; private ones are refused.",
            hint=f"If documents shall be fetched from there, set RAG_FETCH_ALLOW={host}.",
        )

    def _may_reach(self, host: str, text: str) -> bool:
        if host in self._hosts:
            return True
        address = ipaddress.ip_address(text.partition("%")[0])
        inner = plain(address)
        if any(each.version == net.version and each in net for net in self._networks for each in (address, inner)):
            return True
        return "%" not in text and is_public(address)


def _packed(host: str) -> bytes:
    """An address in any of the spellings that the system's resolver takes, ``0x7f.1`` too. Raises OSError: a name."""
    return socket.inet_pton(socket.AF_INET6, host) if ":" in host else socket.inet_aton(host)


def _resolved(host: str, port: int) -> list[str]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceUnreachable(
            f"{host} has no address: {reason}.", hint="Check the name, and that this machine can resolve names."
        ) from error
    return [str(answer[4][0]) for answer in answers]
