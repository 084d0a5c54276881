"""How compute nodes reach the server: the address and the token that are given to what runs there."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from jobmon.core.configuration import JobmonConfig
from jobmon.core.exceptions import UsageError
from jobmon.core.requester import Address, Requester
from jobmon.serializers.local import NodeAccessRequest, NodeAccessResponse

LOOPBACK = "127.0.0.1"
AUTO, NONE = "auto", "none"
MAX_NODES = 8
"""Nodes asked for the way to them: all of a cluster are behind the same interface, or it takes a word of the user."""
USED_SHARE = 0.5
"""Part of a token's life after which a running controller gives its wrappers another one."""
_ANY_PORT = 9  # discard; nothing is sent there


@dataclass(frozen=True)
class WorkerToken:
    """A token that is good for reports of attempts of one workflow.

    Attributes:
        token: the token.
        lifetime_seconds: how long it is good.
    """

    token: str = field(repr=False)
    lifetime_seconds: float


@dataclass(frozen=True)
class NodeAddress:
    """Where the compute nodes find the server.

    Attributes:
        url: address with the route prefix; empty: they cannot reach it.
        token: bearer token to be shown there; empty: none is asked for.
        reason: why they cannot reach it, as a sentence.
        server: where the server was when this was found out.
        good_until: (monotonic) when the token should be replaced by another one; ``None``: never.
    """

    url: str
    token: str = field(default="", repr=False)
    reason: str = ""
    server: Address | None = field(default=None, repr=False, compare=False)
    good_until: float | None = field(default=None, compare=False)

    def is_current(self, requester: Requester) -> bool:
        """Whether it still holds: a local server that was started anew has another address. Asks nobody."""
        if self.good_until is not None and time.monotonic() >= self.good_until:
            return False
        known = requester.known_address
        return known is None or known == self.server


def node_address(
    config: JobmonConfig,
    requester: Requester,
    nodes: Sequence[str],
    make_token: Callable[[], WorkerToken] | None = None,
) -> NodeAddress:
    """Where the compute nodes of a cluster find the server; a local one is told to listen there.

    Args:
        config: ``embedded.node_interface`` says by which address of this machine.
        requester: how to reach the server from here.
        nodes: addresses or names of some of the nodes; empty: not known.
        make_token: has the server know a token for the run's wrappers; ``None``: they get the one the server was given with.

    Raises:
        ServerError: the server does not answer.
    """
    fixed = requester.fixed_address
    if fixed is not None:
        return _of_given_server(requester, fixed, nodes, make_token)
    url, server = requester.url, requester.known_address
    try:
        host = _interface(config, nodes)
        answer = _ask(requester, host)
    except UsageError as error:
        reason = f"The compute nodes cannot reach the local server at {url}: {error}"
        return NodeAddress(
            "", reason=f"{reason} What they report comes through the shared directory.", server=server
        )
    return NodeAddress(answer.url, answer.token, server=requester.known_address)


def controller_address(config: JobmonConfig, requester: Requester, nodes: Sequence[str]) -> Address | None:
    """Where a controller on a compute node finds the server, with its owner's token; ``None``: as on this machine.

    Raises:
        UsageError: it cannot reach the server; the message says what to do.
        ServerError: the server does not answer.
    """
    fixed = requester.fixed_address
    is_elsewhere = way_to(nodes) != LOOPBACK if nodes else False
    remedy = (
        "Set http.service_url to a Jobmon server that they can reach"
        " (or run the controller on this machine: --detach without --on)."
    )
    if fixed is not None:
        if is_elsewhere and _is_loopback(fixed.url):
            raise UsageError(
                f"The server at {fixed.url} is for this machine only, compute nodes cannot reach it. {remedy}"
            )
        return fixed
    if not is_elsewhere:
        return None
    configured = str(config.get("embedded", "node_interface"))
    if configured in (AUTO, NONE):
        raise UsageError(
            "A controller on a compute node needs all of the server, and the local one is open to controllers on this "
            f"machine only. {remedy} Or allow it: set embedded.node_interface to the address of this machine that "
            "leads to the nodes; the local server then takes requests with your token there, unencrypted."
        )
    answer = _ask(requester, configured, is_for_controllers=True)
    server = requester.known_address
    return Address(answer.url, server.token if server is not None else "")


def way_to(nodes: Sequence[str]) -> str:
    """The address of this machine by which it reaches nodes; that of loopback when they are this machine itself.

    Raises:
        UsageError: there is no way to any of them.
    """
    is_here = False
    for node in nodes[:MAX_NODES]:
        way = _way_to(node)
        if way is not None and way != LOOPBACK:
            return way
        is_here = is_here or way is not None
    if not is_here:
        named = ", ".join(nodes[:3])
        raise UsageError(
            f"this machine knows no way to the nodes ({named}). Set embedded.node_interface to its address there."
        )
    return LOOPBACK


def _way_to(node: str) -> str | None:
    """Where packets to a node leave this machine, as the kernel would route them; ``None``: no way is known."""
    try:
        found = socket.getaddrinfo(node, _ANY_PORT, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return None
    for family, kind, protocol, _, destination in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(destination)  # of a datagram socket: sends nothing
                source = str(probe.getsockname()[0])
        except OSError:
            continue
        is_here = source == destination[0] or ipaddress.ip_address(source.partition("%")[0]).is_loopback
        return LOOPBACK if is_here else source
    return None


def _interface(config: JobmonConfig, nodes: Sequence[str]) -> str:
    configured = str(config.get("embedded", "node_interface"))
    if configured == NONE:
        raise UsageError("embedded.node_interface is 'none'.")
    if configured != AUTO:
        return configured
    return way_to(nodes) if nodes else LOOPBACK


def _ask(requester: Requester, host: str, is_for_controllers: bool = False) -> NodeAccessResponse:
    message = NodeAccessRequest(host, is_for_controllers)
    return requester.send("POST", "/local/node_access", message, NodeAccessResponse)


def _of_given_server(
    requester: Requester,
    server: Address,
    nodes: Sequence[str],
    make_token: Callable[[], WorkerToken] | None,
) -> NodeAddress:
    """The server's own address, with a token that is good for less than ours."""
    if nodes and _is_loopback(server.url):
        try:
            is_elsewhere = way_to(nodes) != LOOPBACK
        except UsageError:
            is_elsewhere = True
        if is_elsewhere:
            reason = (
                f"The compute nodes cannot reach the server at {server.url}, which is for this machine only; set "
                "http.service_url to an address that is good for both. What they report comes through the shared directory."
            )
            return NodeAddress("", reason=reason, server=server)
    if not server.token:
        return NodeAddress(server.url, server=server)
    try:
        token = _ask(requester, urlsplit(server.url).hostname or LOOPBACK).token
    except UsageError:  # no local server
        if make_token is None:
            return NodeAddress(server.url, server.token, server=server)
        made = make_token()
        good_until = time.monotonic() + made.lifetime_seconds * USED_SHARE
        return NodeAddress(server.url, made.token, server=server, good_until=good_until)
    return NodeAddress(server.url, token, server=server)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
