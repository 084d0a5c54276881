"""Links that let the owner of a local server into its pages, once: ``<expiry>.<nonce>.<signature>``.

Who knows the server's token can make one, without asking the server; the token itself is not in it. The server takes each
once and answers with a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import quote

TICKET_SECONDS = 12 * 3600
"""How long a link may wait to be opened."""
ENTER_PATH = "/ui/enter"


def make_ticket(token: str, now: float, seconds: float = TICKET_SECONDS) -> str:
    """A ticket for the server with this token.

    Args:
        token: the server's bearer token.
        now: seconds since 1970.
        seconds: how long it is good.
    """
    said = f"{int(now + seconds)}.{secrets.token_urlsafe(12)}"
    return f"{said}.{_signature(token, said)}"


def is_ticket(ticket: str, token: str, now: float) -> bool:
    """Whether somebody who knows the token made this ticket, and it is still good."""
    said, _, signature = ticket.rpartition(".")
    expiry = said.partition(".")[0]
    if not expiry.isascii() or not expiry.isdigit() or len(expiry) > 12:
        return False
    is_genuine = hmac.compare_digest(signature.encode(), _signature(token, said).encode())
    return is_genuine and int(expiry) >= now


def entrance(url: str, token: str, path: str, now: float) -> str:
    """A link into the pages of a local server.

    Args:
        url: address of the server, without the route prefix.
        token: its bearer token; empty: nobody has to show one.
        path: page to go to, such as ``/ui/workflow/12``.
        now: seconds since 1970.
    """
    if not token:
        return url.rstrip("/") + path
    return f"{url.rstrip('/')}{ENTER_PATH}?to={quote(path)}&ticket={make_ticket(token, now)}"


def page_address(address: str, path: str) -> str:
    """Address of a page of a server for many.

    Args:
        address: of the GUI or the server, with or without ``/ui`` at its end; empty: there is none.
        path: of the page, such as ``/ui/workflow/12``.
    """
    root = address.strip().rstrip("/").removesuffix("/ui")
    return root + path if root else ""


def _signature(token: str, said: str) -> str:
    return hmac.new(token.encode(), f"jobmon ui {said}".encode(), hashlib.sha256).hexdigest()[:40]
