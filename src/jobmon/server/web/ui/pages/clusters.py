"""Clusters: their queues, their nodes, and who runs what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

from jobmon.core.exceptions import NotFoundError
from jobmon.core.resources import describe_memory
from jobmon.core.words import describe_duration
from jobmon.serializers.swarm import ForgiveNodeRequest
from jobmon.server.services.node_statistics import NodeLimits
from jobmon.server.web.identity import Access, refusal
from jobmon.server.web.routes import swarm
from jobmon.server.web.store.clusters import GONE
from jobmon.server.web.store.running import (
    LiveAttempts,
    QueueFacts,
    avoided_nodes_read,
    clusters_read_facts,
    complaints_read,
    live_attempts_count,
)
from jobmon.server.web.ui.computed import Figure
from jobmon.server.web.ui.live import LiveSource
from jobmon.server.web.ui.node_figures import NodeFigures, node_figures, outcomes_read
from jobmon.server.web.ui.orders import context_of
from jobmon.server.web.ui.page_router import Answer, Confirmation, Done, Form, PageRouter, View

pages = PageRouter()
LIVE: Mapping[str, LiveSource] = {}

MOST_ROWS = 100
"""Rows of a table of users or workflows."""
MOST_QUEUES = 500
WINDOWS = (60, 360, 1440)
"""Minutes over which nodes may be compared."""
_SHOWN = frozenset({"cores", "memory", "runtime", "nodes", "gres", "is_up", GONE, "is_default", "accounts"})


# -- what runs ------------------------------------------------------------------------------------------
@dataclass
class Share:
    """What one user, one workflow or one queue has under way."""

    key: Any
    name: str
    user: str = ""
    num_running: int = 0
    num_waiting: int = 0

    @property
    def total(self) -> int:
        """All attempts that have not ended."""
        return self.num_running + self.num_waiting


def shares(rows: Iterable[LiveAttempts], key: Callable[[LiveAttempts], tuple[Any, str, str]]) -> list[Share]:
    """Attempts under way added up by a key (the key itself, its name, its user), the most first."""
    found: dict[Any, Share] = {}
    for row in rows:
        which, name, user = key(row)
        share = found.setdefault(which, Share(which, name, user))
        share.num_running += row.num_running
        share.num_waiting += row.num_waiting
    return sorted(found.values(), key=lambda each: (-each.total, str(each.key)))


def _live(view: View) -> Figure[list[LiveAttempts]]:
    database = view.state.database

    def work() -> list[LiveAttempts]:
        with database.read() as connection:
            return live_attempts_count(connection)

    return view.computed.get("live attempts", int(time.monotonic()), work)


@pages.page("/clusters")
def clusters(view: View) -> Answer:
    """All clusters: what they are, what runs there, what is the matter."""
    with view.read() as connection:
        now = view.now(connection)
        found = clusters_read_facts(connection)
        avoided = avoided_nodes_read(connection, now)
        complaints = complaints_read(connection)
    num_avoided = {each.id: sum(node.cluster_id == each.id for node in avoided) for each in found}
    return view.html(
        "clusters.html",
        clusters=found,
        num_avoided=num_avoided,
        complaints=complaints,
        gone=GONE,
        figure=_running(view),
    )


@pages.page("/clusters/running")
def clusters_running(view: View) -> Answer:
    """What runs now, on which cluster and whose; a part of the page."""
    return view.html("_cluster_running_part.html", figure=_running(view))


@dataclass(frozen=True)
class Running:
    """What is under way, added up by cluster, by user and by workflow."""

    clusters: Sequence[Share]
    users: Sequence[Share]
    workflows: Sequence[Share]
    num_users: int
    num_workflows: int


def _running(view: View) -> Figure[Running]:
    figure = _live(view)
    if figure.value is None:
        return Figure(None, figure.age_seconds, figure.error)
    with view.read() as connection:
        cluster_of = {
            queue.id: cluster.name for cluster in clusters_read_facts(connection) for queue in cluster.queues
        }
    rows = figure.value
    users = shares(
        rows,
        lambda row: (
            (cluster_of.get(row.queue_id, ""), row.user),
            cluster_of.get(row.queue_id, ""),
            row.user,
        ),
    )
    workflows = shares(rows, lambda row: (row.workflow_id, row.workflow_name, row.user))
    return Figure(
        Running(
            shares(
                rows, lambda row: (cluster_of.get(row.queue_id, ""), cluster_of.get(row.queue_id, ""), "")
            ),
            users[:MOST_ROWS],
            workflows[:MOST_ROWS],
            len(users),
            len(workflows),
        ),
        figure.age_seconds,
    )


# -- one cluster ----------------------------------------------------------------------------------------
@pages.page("/cluster/{name}")
def cluster(view: View, name: str, minutes: int = 0) -> Answer:
    """One cluster: queues, nodes, who runs what."""
    window = minutes if minutes in WINDOWS else WINDOWS[0]
    with view.read() as connection:
        now = view.now(connection)
        facts = clusters_read_facts(connection, name)[0]
        avoided = avoided_nodes_read(connection, now, facts.id)
        complaints = complaints_read(connection).get(facts.name, [])
    live = _live(view)
    queue_ids = {queue.id for queue in facts.queues}
    rows = [row for row in live.value or [] if row.queue_id in queue_ids]
    users = shares(rows, lambda row: (row.user, row.user, row.user))
    workflows = shares(rows, lambda row: (row.workflow_id, row.workflow_name, row.user))
    return view.html(
        "cluster.html",
        cluster=facts,
        queues=[queue_row(queue) for queue in facts.queues[:MOST_QUEUES]],
        by_queue={share.key: share for share in shares(rows, lambda row: (row.queue_id, "", ""))},
        live=live,
        users=users[:MOST_ROWS],
        num_users=len(users),
        workflows=workflows[:MOST_ROWS],
        num_workflows=len(workflows),
        avoided=avoided,
        complaints=complaints,
        window=window,
        windows=WINDOWS,
        figure=_nodes(view, facts.id, window),
        command=f"jobmon cluster show {quote(facts.name)}",
    )


@pages.page("/cluster/{name}/nodes")
def cluster_nodes(view: View, name: str, minutes: int = 0) -> Answer:
    """How often tasks fail on which node; a part of the page."""
    window = minutes if minutes in WINDOWS else WINDOWS[0]
    with view.read() as connection:
        facts = clusters_read_facts(connection, name)[0]
        avoided = avoided_nodes_read(connection, view.now(connection), facts.id)
    return view.html(
        "_cluster_nodes_part.html",
        cluster=facts,
        avoided=avoided,
        window=window,
        figure=_nodes(view, facts.id, window),
    )


def _nodes(view: View, cluster_id: int, minutes: int) -> Figure[NodeFigures]:
    database, config = view.state.database, view.state.config
    limits = NodeLimits(
        config.get_int("monitor", "min_failures"),
        config.get_float("monitor", "min_failure_rate"),
        config.get_float("monitor", "false_alarm_rate"),
    )

    def work() -> NodeFigures:
        with database.read() as connection:
            outcomes, is_cut = outcomes_read(connection, cluster_id, minutes * 60)
        return node_figures(outcomes, limits, is_cut=is_cut)

    return view.computed.get(("nodes", cluster_id, minutes), int(time.monotonic() / 10), work)


@dataclass(frozen=True)
class QueueRow:
    """A queue in words: the most a task may ask of it; empty where nothing is limited."""

    id: int
    name: str
    cores: str
    memory: str
    runtime: str
    nodes: str
    gres: str
    state: str
    is_default: bool
    more: str


def queue_row(queue: QueueFacts) -> QueueRow:
    """What there is to say of a queue. Pure."""
    parameters = queue.parameters

    def most(name: str) -> Any:
        limits = parameters.get(name)
        return limits[1] if isinstance(limits, list) and len(limits) == 2 else None

    memory, runtime = most("memory"), most("runtime")
    gres = parameters.get("gres")
    state = "gone" if parameters.get(GONE) else "down" if parameters.get("is_up") is False else "up"
    return QueueRow(
        queue.id,
        queue.name,
        _text(most("cores")),
        describe_memory(memory) if isinstance(memory, int | float) else "",
        describe_duration(runtime) if isinstance(runtime, int | float) else "",
        _text(most("nodes")),
        ", ".join(f"{kind}:{count}" for kind, count in gres.items()) if isinstance(gres, dict) else "",
        state,
        bool(parameters.get("is_default")),
        ", ".join(f"{key}: {_text(value)}" for key, value in sorted(parameters.items()) if key not in _SHOWN),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return " – ".join(map(str, value)) if isinstance(value, list) else str(value)


# -- forgive --------------------------------------------------------------------------------------------
def _ask_forgive(view: View, name: str, node: str = "") -> Confirmation:
    with view.read() as connection:
        facts = clusters_read_facts(connection, name)[0]
        known = {
            each.nodename: each for each in avoided_nodes_read(connection, view.now(connection), facts.id)
        }
    refused = "" if node in known else f"Nothing is held against node '{node}' of cluster {name}."
    reason = known[node].reason if node in known else ""
    return Confirmation(
        title=f"Use node '{node}' of cluster {name} again?",
        sentences=(reason,) if reason else (),
        button="Use it again",
        back=f"/cluster/{name}",
        command=f"jobmon cluster bad-nodes {quote(name)} --forgive {quote(node)}",
        refusal=refused or refusal(view.identity, Access.USER),
    )


@pages.action("/cluster/{name}/forgive", _ask_forgive, access=Access.USER)
def forgive(view: View, form: Form, name: str, node: str = "") -> Done:
    """Forget that a node failed."""
    with view.read() as connection:
        facts = clusters_read_facts(connection, name)[0]
        known = [each.nodename for each in avoided_nodes_read(connection, view.now(connection), facts.id)]
    if node not in known:
        raise NotFoundError(f"Nothing is held against node '{node}' of cluster {name}.")
    left = swarm.cluster_forgive_node(context_of(view), name, ForgiveNodeRequest(node)).nodes
    sentence = f"Node {node} of cluster {name} is used again; {len(left)} others are avoided."
    return Done(sentence, f"/cluster/{name}")
