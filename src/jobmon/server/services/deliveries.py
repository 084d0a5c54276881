"""From the database to the notifier: alarms that are due, and the ends of runs somebody subscribed to."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial

from jobmon.server.services.alarms import alarms_are_due, alarms_claim_due, alarms_forget
from jobmon.server.services.lease import LeasedDatabase
from jobmon.server.services.notify.notice import DeliveryError, Notice
from jobmon.server.services.notify.notifier import Notifier
from jobmon.server.services.notify.words import notice_of_alarm, notice_of_end
from jobmon.server.services.subscriptions import (
    ClaimedSubscription,
    subscription_note_failed,
    subscription_note_told,
    subscriptions_are_due,
    subscriptions_claim_due,
)
from jobmon.server.web import dialect

logger = logging.getLogger("jobmon.server.notify")

AT_ONCE = 50


class Deliveries:
    """Hands the notifier what is to be told.

    Args:
        database: what is claimed is claimed under the lease; that something was told is noted without it.
        notifier: tells it.
        gui_url: address of the GUI, for links; empty: none.
    """

    def __init__(self, database: LeasedDatabase, notifier: Notifier, gui_url: str) -> None:
        self.database, self.notifier, self.gui_url = database, notifier, gui_url

    def run_once(self, now: datetime | None = None) -> int:
        """Hand over what is due; how much it was.

        Raises:
            LeaseLost: another process does this by now.
        """
        if self.notifier.room() < AT_ONCE:
            return 0  # nothing is claimed that could not be told soon
        with self.database.read() as connection:  # a look that finds nothing writes nothing
            moment = now or dialect.utcnow(connection)
            has_alarms = alarms_are_due(connection, moment, self.notifier.settings.fold_seconds)
            has_ends = subscriptions_are_due(connection, moment)
        return (self._alarms(now) if has_alarms else 0) + (self._ends(now) if has_ends else 0)

    def forget_old(self) -> None:
        """Drop alarms that were not seen for a long time."""
        self.database.retrying_write(lambda c: alarms_forget(c, dialect.utcnow(c)))

    def _alarms(self, given_now: datetime | None) -> int:
        settings = self.notifier.settings
        due = self.database.retrying_write(
            lambda c: alarms_claim_due(c, given_now or dialect.utcnow(c), settings.fold_seconds)
        )
        for alarm in due:
            logger.warning(
                "%s, %s: %s%s",
                alarm.kind,
                alarm.subject,
                alarm.message,
                f" ({alarm.num_more} more)" if alarm.num_more else "",
            )
            for target in settings.targets_of(alarm.kind):
                notice = notice_of_alarm(alarm, target, settings.max_tries)
                self.notifier.put(_logging_failure(notice))
        return len(due)

    def _ends(self, given_now: datetime | None) -> int:
        settings = self.notifier.settings
        claimed = self.database.retrying_write(
            lambda c: subscriptions_claim_due(c, given_now or dialect.utcnow(c), settings, AT_ONCE)
        )
        for each in claimed:
            notice = notice_of_end(each.facts, each.target, each.delivery_id, self.gui_url)
            self.notifier.put(replace(notice, on_end=partial(self._note, each)))
        return len(claimed)

    def _note(self, claimed: ClaimedSubscription, error: DeliveryError | None) -> None:
        """Note what became of a try; from the notifier's thread, whoever holds the lease by now."""
        database = self.database.keeper.database
        if error is None:
            database.retrying_write(
                lambda c: subscription_note_told(c, claimed.subscription_id, dialect.utcnow(c))
            )
            return
        is_given_up = error.is_final or claimed.num_tries >= self.notifier.settings.max_tries
        database.retrying_write(
            lambda c: subscription_note_failed(
                c,
                claimed.subscription_id,
                str(error),
                now=dialect.utcnow(c),
                num_tries=claimed.num_tries,
                is_given_up=is_given_up,
                retry_after_seconds=error.retry_after_seconds,
            )
        )
        if is_given_up:
            logger.error(
                "the end of run %d could not be told to %s after %d tries: %s",
                claimed.workflow_run_id,
                claimed.target.shown(),
                claimed.num_tries,
                error,
            )


def _logging_failure(notice: Notice) -> Notice:
    def tell(error: DeliveryError | None) -> None:
        if error is not None:
            logger.error("%s could not be told to %s: %s", notice.subject, notice.target.shown(), error)

    return replace(notice, on_end=tell)
