"""Whom a bearer token stands for: asked of the database, and remembered for a few seconds.

A token that is revoked is refused by every process within :data:`TTL_SECONDS`; so long, too, a token that was unknown stays
unknown. Tokens are known by their hashes, here too: nothing compares a secret, and no secret is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from anyio import to_thread

from jobmon.core.access_token import PREFIX, token_hash
from jobmon.server.web import dialect
from jobmon.server.web.database import Database
from jobmon.server.web.identity import Identity
from jobmon.server.web.store.tokens import token_identity

TTL_SECONDS = 5.0
MAX_REMEMBERED = 10_000
LONGEST_TOKEN = 200


class TokenVerifier:
    """Tells whom tokens stand for; to be used on one loop.

    Args:
        database: where the tokens' hashes are.
        clock: monotonic seconds.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock
        self._known: OrderedDict[str, tuple[float, Identity | None]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[Identity | None]] = {}

    async def identity(self, token: str) -> Identity | None:
        """Whom a token stands for; ``None``: nobody.

        Raises:
            SQLAlchemyError: the database cannot be asked.
        """
        if not token.startswith(PREFIX) or len(token) > LONGEST_TOKEN:
            return None
        key = token_hash(token)
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        asking = self._asked.get(key)
        if asking is None:  # one question, however many requests show the token at this moment
            asking = self._asked[key] = asyncio.create_task(self._ask(key))
            asking.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(asking)

    async def _ask(self, key: str) -> Identity | None:
        asked_at = self._clock()  # what is revoked while the answer comes must not count for longer
        found = await to_thread.run_sync(self._look, key)
        self._known[key] = (asked_at + TTL_SECONDS, found)
        self._known.move_to_end(key)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _look(self, key: str) -> Identity | None:
        with self._database.read() as connection:
            return token_identity(connection, key, dialect.utcnow(connection))
