"""Who wants to be told of the end of a run: kept with the run, told once after its end.

A subscription is stored in the transaction that creates its run. After the run's end, whoever ended it, the process that holds
the lease *claims* it: the next try is put off by longer than a try can take, and then it is told. That it was told is noted
by whoever told it, lease or not, for it is a fact. Only where a process dies after it has told and before it could note that,
it is told once more, with the same delivery id.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, select, update

from jobmon.core.notify_target import NotifyChannel, NotifyTarget, parse_targets, require_open
from jobmon.core.states import (
    WORKFLOW_RUN_TERMINAL,
    WorkflowRunStatus,
    WorkflowStatus,
)
from jobmon.server.services.notify.channels import NotifySettings
from jobmon.server.services.notify.notifier import pause_after
from jobmon.server.services.notify.words import RunEndFacts
from jobmon.server.web import dialect
from jobmon.server.web.models import Subscription, Workflow, WorkflowHistory, WorkflowRun
from jobmon.server.web.store.failures import workflow_read_latest_failures
from jobmon.server.web.store.progress import together, workflows_progress

logger = logging.getLogger("jobmon.server.notify")

NUM_FAILURES = 3
ERROR_CHARACTERS = 500
CLAIM_FACTOR = 12.0
"""A claim lasts so many times ``notify.timeout_seconds``: a mail takes several steps, each of which may take that long."""


def subscriptions_add(
    connection: Connection, workflow_run_id: int, targets: Sequence[NotifyTarget], now: datetime
) -> None:
    """Store whom to tell of the end of a run; twice the same is once."""
    dialect.insert_ignore(
        connection,
        Subscription.__table__,  # type: ignore[arg-type]
        [
            {
                "workflow_run_id": workflow_run_id,
                "channel": target.channel.value,
                "target": target.address,
                "num_tries": 0,
                "created_at": now,
                "next_try_at": now,
            }
            for target in targets
        ],
    )


@dataclass(frozen=True)
class ClaimedSubscription:
    """A subscription that is to be told now."""

    subscription_id: int
    workflow_run_id: int
    target: NotifyTarget
    num_tries: int
    facts: RunEndFacts

    @property
    def delivery_id(self) -> str:
        """The same for every try."""
        return f"run-{self.workflow_run_id}-{self.subscription_id}"


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(
        Subscription.settled_at.is_(None),
        Subscription.next_try_at <= now,
        WorkflowRun.status.in_(WORKFLOW_RUN_TERMINAL),
    )


def subscriptions_are_due(connection: Connection, now: datetime) -> bool:
    """Whether somebody is to be told of the end of a run now."""
    statement = (
        select(Subscription.id)
        .join(WorkflowRun, WorkflowRun.id == Subscription.workflow_run_id)
        .where(_is_due(now))
    )
    return connection.scalar(statement.limit(1)) is not None


def subscriptions_claim_due(
    connection: Connection, now: datetime, settings: NotifySettings, limit: int
) -> list[ClaimedSubscription]:
    """Subscriptions of runs that are over, to be told now.

    Args:
        connection: a write transaction that holds the lease.
        now: time of the database.
        settings: how often something is tried, and how long a try takes.
        limit: at most so many.
    """
    rows = connection.execute(
        select(
            Subscription.id,
            Subscription.workflow_run_id,
            Subscription.channel,
            Subscription.target,
            Subscription.num_tries,
        )
        .join(WorkflowRun, WorkflowRun.id == Subscription.workflow_run_id)
        .where(_is_due(now))
        .order_by(Subscription.id)
        .limit(limit)
    ).all()
    claimed, facts = [], {}
    for subscription_id, run_id, channel, address, tries in rows:
        of_it = Subscription.id == subscription_id
        if tries >= settings.max_tries:  # its last try was cut off
            connection.execute(update(Subscription).where(of_it).values(settled_at=now))
            continue
        until = now + timedelta(seconds=settings.timeout_seconds * CLAIM_FACTOR)
        connection.execute(update(Subscription).where(of_it).values(num_tries=tries + 1, next_try_at=until))
        if run_id not in facts:
            facts[run_id] = run_end_read(connection, run_id)
        target = NotifyTarget(NotifyChannel(channel), address)
        claimed.append(ClaimedSubscription(subscription_id, run_id, target, tries + 1, facts[run_id]))
    return claimed


def subscription_note_told(connection: Connection, subscription_id: int, now: datetime) -> None:
    """Note that somebody was told."""
    connection.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id)
        .values(told_at=now, settled_at=now, error=None)
    )


def subscription_note_failed(
    connection: Connection,
    subscription_id: int,
    error: str,
    *,
    now: datetime,
    num_tries: int,
    is_given_up: bool,
    retry_after_seconds: float = 0.0,
) -> None:
    """Note that somebody could not be told: it is tried again later, or given up."""
    values: dict[str, object] = {"error": error[:ERROR_CHARACTERS]}
    if is_given_up:
        values["settled_at"] = now
    else:
        values["next_try_at"] = now + timedelta(seconds=pause_after(num_tries, retry_after_seconds))
    connection.execute(
        update(Subscription)
        .where(Subscription.id == subscription_id, Subscription.settled_at.is_(None))
        .values(**values)
    )


def run_end_read(connection: Connection, workflow_run_id: int) -> RunEndFacts:
    """What is told of the end of a run."""
    row = connection.execute(
        select(
            Workflow.id,
            Workflow.name,
            WorkflowRun.user,
            WorkflowRun.status,
            Workflow.status,
            WorkflowRun.created_date,
            WorkflowRun.status_date,
        )
        .join(Workflow, Workflow.id == WorkflowRun.workflow_id)
        .where(WorkflowRun.id == workflow_run_id)
    ).one()
    workflow_id, name, user, run_status, status, created_date, ended_at = row
    counts = together(workflows_progress(connection, [workflow_id])[workflow_id].values()).by_status
    last_actor = connection.scalar(
        select(WorkflowHistory.actor)
        .where(WorkflowHistory.workflow_run_id == workflow_run_id)
        .order_by(WorkflowHistory.id.desc())
        .limit(1)
    )
    is_done = WorkflowRunStatus(run_status) is WorkflowRunStatus.DONE
    failures = [] if is_done else workflow_read_latest_failures(connection, workflow_id, NUM_FAILURES)
    return RunEndFacts(
        workflow_id,
        workflow_run_id,
        name or "",
        user,
        WorkflowRunStatus(run_status),
        WorkflowStatus(status),
        counts,
        (ended_at - created_date).total_seconds(),
        ended_at,
        last_actor == "server",
        [(each.task_name, each.description) for each in failures],
    )


def targets_of_request(texts: Sequence[str], settings: NotifySettings) -> list[NotifyTarget]:
    """The addresses a controller sent, if this server may tell all of them.

    Raises:
        UsageError: it cannot or must not.
    """
    targets = parse_targets(texts)
    require_open(targets, settings.open_to_users)
    return targets
