"""``python -m bench.pages``: what the pages cost at a workflow of a million tasks, on each database."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import http.client
import re
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import select, update

from bench import machine
from bench.load.place import LABELS, Kind, Servers, database
from bench.pages.million import Large, build
from bench.row import replace_between
from jobmon.core.states import TaskStatus
from jobmon.server.web.database import Database
from jobmon.server.web.models import ArrayProgress, Task
from jobmon.server.web.store.progress import Changes, progress_add

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- pages -->", "<!-- end of pages -->"
PAGE_SECONDS, FIRST_BYTES, LIVE_BYTES, WATCHED_SHARE = 0.3, 300_000, 30_000, 0.10
WATCHERS, WATCHED_SECONDS = 100, 30.0


@dataclass
class Cost:
    """What one page costs: seconds of every request, ascending, and bytes as they are sent."""

    seconds: list[float]
    sent_bytes: int

    def at(self, share: float) -> float:
        """Seconds that this share of the requests took at most."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]


def paths(large: Large) -> dict[str, str]:
    """Every page, by name."""
    workflow, task = f"/ui/workflow/{large.workflow_id}", f"/ui/task/{large.failed_task_id}"
    template = f"{workflow}/template/{large.array_ids[3]}"
    return {
        "workflows": "/ui/?user=*",
        "workflow": workflow,
        "  graph": f"{workflow}/graph",
        "  timeline": f"{workflow}/timeline",
        "  timeline by node": f"{workflow}/timeline?by=node",
        "  errors": f"{workflow}/errors",
        "  history": f"{workflow}/history",
        "  plan": f"{workflow}/plan",
        "  curve": f"{workflow}/curve.json",
        "template: tasks": template,
        "  failed ones": f"{template}?status=FATAL",
        "  by name": f"{template}?name=4999",
        "  usage": f"{template}/usage",
        "  errors of it": f"{template}/errors",
        "task": task,
        "  neighbourhood": f"{task}/graph?up=2&down=2",
        "clusters": "/ui/clusters",
        "cluster": "/ui/cluster/multiprocess",
        "tools": "/ui/tools",
        "tool": "/ui/tool/1",
        "help": "/ui/help",
    }


class Visitor:
    """Asks for pages as a browser does."""

    def __init__(self, url: str) -> None:
        self._host = url.removeprefix("http://")

    def get(self, path: str) -> tuple[float, bytes, int]:
        """Seconds until the last byte, what was sent, bytes of it without compression."""
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            before = time.perf_counter()
            connection.request("GET", path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            body = answer.read()
            seconds = time.perf_counter() - before
            if answer.status != 200:
                raise RuntimeError(f"{path}: HTTP {answer.status}")
            is_small = answer.getheader("Content-Encoding") == "gzip"
            return seconds, gzip.decompress(body) if is_small else body, len(body)
        finally:
            connection.close()

    def first_load(self, path: str) -> int:
        """Bytes of a page with all it needs, for who has nothing of it yet."""
        _, body, size = self.get(path)
        files = set(re.findall(rb'(?:src|href)="([^"]*/static/[^"]*)"', body))
        return size + sum(self.get(each.decode().replace("&amp;", "&"))[2] for each in files)


def page_costs(url: str, large: Large, times: int) -> dict[str, Cost]:
    """Ask for every page so many times, one after the other, round by round."""
    visitor, found = Visitor(url), {name: Cost([], 0) for name in paths(large)}
    for _ in range(times):
        for name, path in paths(large).items():
            seconds, _, size = visitor.get(path)
            found[name].seconds.append(seconds)
            found[name].sent_bytes = max(found[name].sent_bytes, size)
    for cost in found.values():
        cost.seconds.sort()
    return found


def watched(servers: Servers, uri: str, large: Large) -> tuple[float, int]:
    """A hundred browsers watch the workflow while tasks end: share of a core, bytes of the largest update."""
    return asyncio.run(_watched(servers, uri, large))


async def _watched(servers: Servers, uri: str, large: Large) -> tuple[float, int]:
    sizes: list[int] = []
    host, port = servers.urls[0].removeprefix("http://").split(":")
    request = f"GET /ui/live/workflow/{large.workflow_id} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()

    async def watch(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        size = 0
        try:
            while line := await reader.readline():
                size += len(line)
                if not line.strip():
                    if number == 0:
                        sizes.append(size)
                    size = 0
        finally:
            writer.close()

    watching = [asyncio.create_task(watch(number)) for number in range(WATCHERS)]
    stop = threading.Event()
    changing = threading.Thread(target=_change, args=[uri, large, stop])
    changing.start()
    await asyncio.sleep(5)
    processes = servers.serving()
    before = sum(sum(process.cpu_times()[:2]) for process in processes)
    await asyncio.sleep(WATCHED_SECONDS)
    used = sum(sum(process.cpu_times()[:2]) for process in processes) - before
    stop.set()
    changing.join()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    return used / WATCHED_SECONDS, max(sizes[2:], default=0)


def _change(uri: str, large: Large, stop: threading.Event) -> None:
    """Tasks that end, twice a second, by another process than the server's."""
    store = Database(uri)
    array_id = large.array_ids[10]
    with store.read() as connection:
        running = list(
            connection.scalars(
                select(Task.id)
                .where(Task.array_id == array_id, Task.status == TaskStatus.RUNNING.value)
                .limit(2000)
            )
        )
    while running and not stop.wait(0.5):
        some, running = running[:20], running[20:]
        with store.write() as connection:
            connection.execute(update(Task).where(Task.id.in_(some)).values(status=TaskStatus.DONE.value))
            changes = Changes()
            changes.move(array_id, TaskStatus.RUNNING, TaskStatus.DONE, len(some))
            progress_add(connection, changes)
            connection.execute(select(ArrayProgress.done).where(ArrayProgress.array_id == array_id))
    store.dispose()


def measure(kind: Kind, num_tasks: int, times: int) -> list[tuple[str, str, bool]]:
    """Lines of the table for one database: what, the figure, whether the budget is kept."""
    with (
        database(kind) as uri,
        TemporaryDirectory(prefix="jobmon-pages-") as directory,
        Servers(uri, Path(directory)) as servers,
    ):
        store = Database(uri)
        large = build(store, num_tasks)
        store.dispose()
        url = servers.urls[0]
        for path in paths(large).values():  # once, so that what takes long is being worked out
            Visitor(url).get(path)
        time.sleep(20 * num_tasks / 1_000_000)
        costs = page_costs(url, large, times)
        first = max(Visitor(url).first_load(path) for path in paths(large).values())
        share, update_bytes = watched(servers, uri, large)
    lines = [
        (
            name,
            f"{1e3 * cost.at(0.5):.0f} / {1e3 * cost.at(0.95):.0f} ms, {cost.sent_bytes / 1e3:.0f} kB",
            cost.at(0.95) <= PAGE_SECONDS,
        )
        for name, cost in costs.items()
    ]
    return [
        *lines,
        ("largest first load", f"{first / 1e3:.0f} kB", first <= FIRST_BYTES),
        ("largest live update", f"{update_bytes / 1e3:.1f} kB", update_bytes <= LIVE_BYTES),
        (f"{WATCHERS} browsers that watch", f"{100 * share:.1f} % of a core", share <= WATCHED_SHARE),
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where a budget is not kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--on", nargs="+", choices=list(Kind), default=["sqlite", "mariadb"])
    parser.add_argument("--tasks", type=int, default=1_000_000, help="tasks of the workflow")
    parser.add_argument("--times", type=int, default=20, help="requests of each page")
    parser.add_argument("--write", action="store_true", help=f"write the table into docs/{DOCUMENT.name}")
    options = parser.parse_args(words)
    kinds = [Kind(each) for each in options.on]
    about = f"{machine.description()}; load {machine.load():.2f} at the start"
    print(about, flush=True)
    found = {kind: measure(kind, options.tasks, options.times) for kind in kinds}
    table = [
        f"| page, median / p95, as sent | {' | '.join(LABELS[kind] for kind in kinds)} | ok? |",
        f"| --- | {'---: | ' * len(kinds)}--- |",
    ]
    for rows in zip(*found.values(), strict=True):
        is_kept = all(row[2] for row in rows)
        table.append(
            f"| {rows[0][0]} | {' | '.join(row[1] for row in rows)} | {'yes' if is_kept else 'NO'} |"
        )
    print("\n".join(table))
    if options.write:
        said = f"`python -m bench.pages {' '.join(words or sys.argv[1:])}`, {about}."
        replace_between(DOCUMENT, BEGIN, END, "\n".join([said, "", *table]))
    return 0 if all(row[2] for rows in found.values() for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
