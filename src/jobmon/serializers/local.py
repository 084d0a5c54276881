"""Messages between a controller and the local server, about how compute nodes reach it."""

from __future__ import annotations

from msgspec import Struct


class NodeAccessRequest(Struct):
    """Have the local server listen where compute nodes can reach it.

    Attributes:
        host: an address or host name of the server's machine.
        is_for_controllers: whether controllers that run on nodes come by it as well; else it takes reports of attempts
            only, whatever token is shown.
    """

    host: str
    is_for_controllers: bool = False


class NodeAccessResponse(Struct):
    """Where compute nodes find the local server.

    Attributes:
        url: address with the route prefix.
        token: bearer token that is good for reports of attempts only.
    """

    url: str
    token: str

    def __repr__(self) -> str:
        """Without the token, which must not reach a log."""
        return f"NodeAccessResponse(url={self.url!r})"
