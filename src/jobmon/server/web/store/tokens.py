"""Bearer tokens: made, looked up, listed, revoked. Only their hashes are here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from jobmon.core.exceptions import InvalidUsage, NotAllowedError, NotFoundError, UsageError
from jobmon.server.web.identity import Identity, UserRole
from jobmon.server.web.models import AccessToken, WorkflowRun

_HASH = re.compile("[0-9a-f]{64}")
USER_CHARACTERS = 150
LABEL_CHARACTERS = 255

_COLUMNS = (
    AccessToken.id,
    AccessToken.user,
    AccessToken.role,
    AccessToken.label,
    AccessToken.workflow_run_id,
    AccessToken.created_at,
    AccessToken.expires_at,
    AccessToken.revoked_at,
)
_FIND = select(*_COLUMNS, WorkflowRun.workflow_id).outerjoin(
    WorkflowRun, WorkflowRun.id == AccessToken.workflow_run_id
)


@dataclass(frozen=True)
class TokenRow:
    """A token as it may be shown.

    Attributes:
        id: by which it is revoked.
        user, role, label: as whom it acts, and what its maker said of it.
        workflow_run_id: run of a wrapper's token.
        created_at, expires_at, revoked_at: times of the database; ``None``: never.
    """

    id: int
    user: str
    role: str
    label: str
    workflow_run_id: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """Whether it is good: ``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def token_create(
    connection: Connection,
    token_hash: str,
    *,
    user: str,
    role: UserRole,
    label: str,
    now: datetime,
    expires_at: datetime | None,
    workflow_run_id: int | None = None,
) -> int:
    """Keep the hash of a token; its id.

    Raises:
        UsageError: the user's name is empty, too long or no plain text.
    """
    if not user or len(user) > USER_CHARACTERS or not user.isprintable() or user != user.strip():
        raise UsageError(
            f"'{user[:200]}' is no name of a user: it must be 1 to {USER_CHARACTERS} printable characters."
        )
    values = {
        "token_hash": token_hash,
        "user": user,
        "role": role.value,
        "label": label[:LABEL_CHARACTERS],
        "workflow_run_id": workflow_run_id,
        "created_at": now,
        "expires_at": expires_at,
    }
    (token_id,) = connection.execute(insert(AccessToken).values(**values)).inserted_primary_key or (0,)
    return int(token_id)


def worker_token_create_if_new(
    connection: Connection,
    token_hash: str,
    workflow_run_id: int,
    *,
    user: str,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Keep the hash of a token that is good for reports of attempts of a run's workflow; one that is kept stays as it is.

    Raises:
        InvalidUsage: it is no hash.
        NotAllowedError: it is kept for something else, or was revoked.
    """
    if not _HASH.fullmatch(token_hash):
        raise InvalidUsage("`token_hash` must be the SHA-256 of a token, in 64 hexadecimal digits.")
    found = connection.execute(_FIND.where(AccessToken.token_hash == token_hash)).first()
    if found is None:
        token_create(
            connection,
            token_hash,
            user=user or "(unknown)",
            role=UserRole.WORKER,
            label=f"workflow run {workflow_run_id}",
            workflow_run_id=workflow_run_id,
            now=now,
            expires_at=expires_at,
        )
    elif found.workflow_run_id != workflow_run_id or found.revoked_at is not None:
        raise NotAllowedError("This token is in use for something else, or was revoked; make another one.")


def token_identity(connection: Connection, token_hash: str, now: datetime) -> Identity | None:
    """As whom a token acts; ``None``: it is none, or is not good any more. One look-up by a unique index."""
    row = connection.execute(_FIND.where(AccessToken.token_hash == token_hash)).first()
    if row is None or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    role = UserRole(row.role)
    if (role is UserRole.WORKER) != (row.workflow_id is not None):
        return None  # nobody writes such a row
    return Identity(row.user, role, workflow_run_id=row.workflow_run_id, workflow_id=row.workflow_id)


def tokens_list(
    connection: Connection, now: datetime, *, user: str = "", is_all: bool = False
) -> list[TokenRow]:
    """Tokens in the order in which they were made.

    Args:
        connection: a transaction.
        now: time of the database.
        user: only those of this user; empty: of all.
        is_all: also those that are not good any more, and those of wrappers.
    """
    statement = select(*_COLUMNS).order_by(AccessToken.id)
    if user:
        statement = statement.where(AccessToken.user == user)
    if not is_all:
        statement = statement.where(
            AccessToken.revoked_at.is_(None),
            AccessToken.role != UserRole.WORKER.value,
            or_(AccessToken.expires_at.is_(None), AccessToken.expires_at > now),
        )
    return [TokenRow(*row) for row in connection.execute(statement)]


def tokens_revoke(connection: Connection, ids: Sequence[int], now: datetime) -> int:
    """Revoke tokens; how many were not revoked before.

    Raises:
        NotFoundError: there is no token of an id; none was revoked.
    """
    known = set(connection.scalars(select(AccessToken.id).where(AccessToken.id.in_(ids))))
    unknown = [str(each) for each in ids if each not in known]
    if unknown:
        raise NotFoundError(f"There is no token {', '.join(unknown)}; see jobmon-server token list --all.")
    return _revoke(connection, AccessToken.id.in_(ids), now)


def user_revoke_tokens(connection: Connection, user: str, now: datetime) -> int:
    """Revoke all tokens of a user, those of the user's wrappers too; how many were not revoked before."""
    return _revoke(connection, AccessToken.user == user, now)


def _revoke(connection: Connection, which: object, now: datetime) -> int:
    statement = update(AccessToken).where(which, AccessToken.revoked_at.is_(None)).values(revoked_at=now)  # type: ignore[arg-type]
    return int(connection.execute(statement).rowcount)
