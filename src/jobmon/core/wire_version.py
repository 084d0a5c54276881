"""Which versions of the messages on the wire understand each other.

Each side says in every request and every answer which version it speaks and which is the oldest it understands. A version grows
when a message changes in a way that older code would get wrong; a new field with a default does not. During a rolling update two
versions serve side by side, and clients of one meet servers of the other.
"""

from __future__ import annotations

from collections.abc import Mapping

WIRE_VERSION = 1
"""What this Jobmon speaks."""
OLDEST_WIRE_VERSION = 1
"""The oldest it understands."""
WIRE_HEADER, OLDEST_HEADER = "X-Jobmon-Wire", "X-Jobmon-Wire-Oldest"
UPGRADE_REQUIRED = 426
"""HTTP status of a refusal."""

WIRE_HEADERS = {WIRE_HEADER: str(WIRE_VERSION), OLDEST_HEADER: str(OLDEST_WIRE_VERSION)}
"""The headers both sides send."""


def spoken_range(headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Oldest and newest version the other side understands; ``None``: it does not say, such as a browser."""
    newest = headers.get(WIRE_HEADER, "")
    oldest = headers.get(OLDEST_HEADER, "") or newest
    if not (newest.isascii() and newest.isdigit() and oldest.isascii() and oldest.isdigit()):
        return None
    return int(oldest), int(newest)


def misunderstanding(client: tuple[int, int], server: tuple[int, int]) -> str:
    """Why a client and a server cannot talk, and which of them to upgrade; empty when they can.

    Args:
        client, server: oldest and newest version each of them understands.
    """
    if client[1] < server[0]:
        return (
            f"The Jobmon of the client is too old for this server (it speaks version {client[1]} of the messages, the "
            f"server understands {server[0]} to {server[1]}): upgrade the client."
        )
    if server[1] < client[0]:
        return (
            f"The Jobmon server is too old for this client (it speaks version {server[1]} of the messages, the client "
            f"understands {client[0]} to {client[1]}): upgrade the server."
        )
    return ""


OWN_RANGE = (OLDEST_WIRE_VERSION, WIRE_VERSION)
"""Oldest and newest version this Jobmon understands."""
