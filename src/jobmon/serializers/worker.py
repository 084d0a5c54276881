"""Messages between the wrapper on a compute node and the server."""

from __future__ import annotations

from msgspec import Struct


class WorkerResponse(Struct):
    """Answer to an event of one attempt.

    Attributes:
        status: status letter of the attempt.
        is_live: false: this attempt may not go on; end what runs and say nothing more.
    """

    status: str
    is_live: bool
