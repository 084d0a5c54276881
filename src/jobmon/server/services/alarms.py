"""Alarms: what operators are told, folded so that the same thing is told once and counted after that.

An alarm has a kind (``lost_run``) and a subject (``run 12``). Its first sight is told at once. More of the same within
``notify.fold_minutes`` is counted; when those are over, one digest tells how often it was. What stays as it is (a *condition*)
is told once for as long as it lasts. The alarm is stored in the transaction that saw it: what was done is never without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from jobmon.server.web import dialect
from jobmon.server.web.models import Alarm

MESSAGE_CHARACTERS = 2000
KEEP_DAYS = 90
"""Alarms that were not seen for so long are forgotten."""
CONDITION_SECONDS = 3600.0
"""A condition that was not seen for so long, at least, is over."""
AT_ONCE = 50
"""Alarms told of in one look."""


@dataclass(frozen=True)
class AlarmState:
    """How often an alarm was seen and told, since it began the last time."""

    num_seen: int
    num_told: int
    first_seen_at: datetime
    last_seen_at: datetime
    told_at: datetime | None
    settled_at: datetime | None


def alarm_seen(
    state: AlarmState | None, now: datetime, fold_seconds: float, *, is_condition: bool = False
) -> AlarmState:
    """The state after it was seen once more; pure.

    Args:
        state: what was known; ``None``: it was never seen.
        now: time of the database.
        fold_seconds: within which the same is counted, not told.
        is_condition: it lasts, and was there at each look: seeing it again is no news.
    """
    fold = timedelta(seconds=max(fold_seconds, CONDITION_SECONDS) if is_condition else fold_seconds)
    if state is None or (
        state.settled_at is not None and now - max(state.last_seen_at, state.told_at or now) >= fold
    ):
        return AlarmState(1, 0, now, now, None, None)
    if is_condition:
        return replace(state, last_seen_at=now)
    return replace(state, num_seen=state.num_seen + 1, last_seen_at=now, settled_at=None)


def alarm_due(state: AlarmState, now: datetime, fold_seconds: float) -> bool:
    """Whether there is something to tell now; pure."""
    if state.num_seen <= state.num_told:
        return False
    return state.told_at is None or now - state.told_at >= timedelta(seconds=fold_seconds)


def alarm_told(state: AlarmState, now: datetime) -> AlarmState:
    """The state after it was told; pure."""
    return replace(state, num_told=state.num_seen, told_at=now, settled_at=now)


@dataclass(frozen=True)
class DueAlarm:
    """An alarm to be told now; ``num_more``: how often it was seen since it was told, 0 the first time."""

    alarm_id: int
    kind: str
    subject: str
    message: str
    num_more: int
    first_seen_at: datetime


_STATE = (
    Alarm.num_seen,
    Alarm.num_told,
    Alarm.first_seen_at,
    Alarm.last_seen_at,
    Alarm.told_at,
    Alarm.settled_at,
)


def alarm_note(
    connection: Connection,
    kind: str,
    subject: str,
    message: str,
    *,
    now: datetime,
    fold_seconds: float,
    is_condition: bool = False,
) -> None:
    """Note that something was seen that operators are told of.

    Args:
        connection: a write transaction that holds the lease.
        kind: which kind of news: decides who is told.
        subject: what it is about; the same kind and subject is the same alarm.
        message: a sentence or two.
        now: time of the database.
        fold_seconds: within which the same is counted, not told.
        is_condition: it lasts.
    """
    subject = subject[:255]
    of_it = (Alarm.kind == kind, Alarm.subject == subject)
    row = connection.execute(dialect.lock_rows(connection, select(*_STATE).where(*of_it))).first()
    state = alarm_seen(
        None if row is None else AlarmState(*row), now, fold_seconds, is_condition=is_condition
    )
    values = {**state.__dict__, "message": message[:MESSAGE_CHARACTERS]}
    if row is None:
        connection.execute(insert(Alarm).values(kind=kind, subject=subject, **values))
    else:
        connection.execute(update(Alarm).where(*of_it).values(**values))


def _is_due(now: datetime, fold_seconds: float) -> ColumnElement[bool]:
    is_time = or_(Alarm.told_at.is_(None), Alarm.told_at <= now - timedelta(seconds=fold_seconds))
    return and_(Alarm.settled_at.is_(None), is_time)


def alarms_are_due(connection: Connection, now: datetime, fold_seconds: float) -> bool:
    """Whether there may be an alarm to be told now."""
    return connection.scalar(select(Alarm.id).where(_is_due(now, fold_seconds)).limit(1)) is not None


def alarms_claim_due(
    connection: Connection, now: datetime, fold_seconds: float, limit: int = AT_ONCE
) -> list[DueAlarm]:
    """Alarms to be told now; they count as told from here on, for nobody else may tell them as well."""
    rows = connection.execute(
        select(Alarm.id, Alarm.kind, Alarm.subject, Alarm.message, *_STATE)
        .where(_is_due(now, fold_seconds))
        .order_by(Alarm.id)
        .limit(limit)
    ).all()
    due = []
    for alarm_id, kind, subject, message, *columns in rows:
        state = AlarmState(*columns)
        if not alarm_due(state, now, fold_seconds):
            continue
        more = state.num_seen - state.num_told if state.told_at is not None else 0
        due.append(DueAlarm(alarm_id, kind, subject, message, more, state.first_seen_at))
        told = alarm_told(state, now)
        connection.execute(update(Alarm).where(Alarm.id == alarm_id).values(**told.__dict__))
    return due


def alarms_forget(connection: Connection, now: datetime) -> None:
    """Drop alarms that were not seen for a long time."""
    connection.execute(delete(Alarm).where(Alarm.last_seen_at < now - timedelta(days=KEEP_DAYS)))


def alarms_read(connection: Connection, limit: int) -> list[tuple[str, str, int, datetime, str]]:
    """The latest alarms: kind, subject, how often since it began, when last, message."""
    rows = connection.execute(
        select(Alarm.kind, Alarm.subject, Alarm.num_seen, Alarm.last_seen_at, Alarm.message)
        .order_by(Alarm.last_seen_at.desc(), Alarm.id.desc())
        .limit(limit)
    )
    return [tuple(row) for row in rows]  # type: ignore[misc]
