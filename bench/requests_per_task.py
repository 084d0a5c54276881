"""How many HTTP requests and SQL statements does a task need, from the registration of its tool to the end of its run?"""

from __future__ import annotations

from functools import cache

from bench.counting_server import CountingServer, Counts
from bench.place import Place
from bench.row import Row, in_words
from bench.workflows import independent_run

NUM_TASKS = 1000


@cache
def counts(num_tasks: int, cluster: str) -> Counts:
    """What a script needs that runs so many tasks."""
    with Place() as place:
        with CountingServer(place) as server:
            place.environment = {**place.environment, "JOBMON__HTTP__SERVICE_URL": server.url}
            place.call(independent_run, num_tasks, cluster)
        return server.counts


def rows(cluster: str, command: str, peer_requests: str) -> tuple[Row, ...]:
    """The rows of one cluster."""
    what = f"per task, {in_words(NUM_TASKS, '×')} {command} on {cluster}"
    return (
        Row(
            f"HTTP requests {what}",
            "",
            lambda: counts(NUM_TASKS, cluster).requests / NUM_TASKS,
            0.05,
            peer_requests,
        ),
        Row(
            f"SQL statements {what}",
            "",
            lambda: counts(NUM_TASKS, cluster).statements / NUM_TASKS,
            0.5,
            "peer 42",
        ),
        Row(
            "  rows among them that are updated one by one",
            "",
            lambda: counts(NUM_TASKS, cluster).rows_updated_singly / NUM_TASKS,
        ),
    )


ROWS = (*rows("multiprocess", "true", "peer 14"), *rows("dummy", "no-op", "peer 4.6"))
