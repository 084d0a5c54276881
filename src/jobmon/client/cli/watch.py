"""``jobmon workflow watch``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobmon.client.cli.options import workflow_argument

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jobmon.serializers.monitor import TaskErrorRow, TemplateProgressRow, WorkflowOverviewResponse

STYLES = {"PENDING": "dim", "SCHEDULED": "yellow", "RUNNING": "cyan", "DONE": "green", "FATAL": "red"}
SHORT_LABELS = {"FATAL": "FAILED"}
NARROWEST_BAR = 10
WIDEST_BAR = 40
SHOWN_EVENTS = 3
FIXED_LINES = 16
"""Lines of everything but the templates, the failures and the running tasks."""


@click.command()
@workflow_argument
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
def watch(workflow_id: int, interval: float) -> None:
    """Watch a workflow while it runs: bars, templates, the latest failures, what runs.

    Ends with the workflow: exit code 0 when every task is done, else 1. Ctrl-C leaves and lets it run on. Where the
    output is no terminal there is a line for each change instead.

    \b
    Examples:
      jobmon workflow watch 12
      jobmon workflow watch 12 --interval 10 > progress.txt
    """
    import sys
    import time

    from jobmon.client.commands import watch as commands

    seen = commands.overviews(workflow_id, lambda: time.sleep(interval))
    overview = _draw(seen) if sys.stdout.isatty() else _tell(seen)
    for line in commands.next_words(overview):
        click.echo(line)
    click.get_current_context().exit(0 if commands.is_done(overview) else 1)


def _tell(seen: Any) -> WorkflowOverviewResponse:
    """Lines about what changes; the last look."""
    from jobmon.client.commands.watch import PlainWatch

    plain = PlainWatch()
    for overview in seen:
        for line in plain.lines(overview):
            click.echo(line)
    last: WorkflowOverviewResponse = overview
    return last


def _draw(seen: Any) -> WorkflowOverviewResponse:
    """A picture that moves; the last look."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        for overview in seen:
            live.update(picture(overview, console.width, console.height), refresh=True)
    last: WorkflowOverviewResponse = overview
    return last


def picture(overview: WorkflowOverviewResponse, width: int, height: int) -> RenderableType:
    """A workflow at a glance, no wider and no higher than the terminal.

    Args:
        overview: the workflow.
        width: columns of the terminal.
        height: its lines.
    """
    from rich.console import Group
    from rich.text import Text

    from jobmon.client.commands.watch import headline
    from jobmon.client.progress import eta_words
    from jobmon.core.words import describe_duration

    parts: list[RenderableType] = [_line(headline(overview), "bold")]
    if overview.eta is not None:
        words = eta_words(overview.eta)
        parts.append(_line(", ".join(words if len(words) > 1 else [*words, overview.eta.how])))
    parts += [_line(text, "yellow") for text in overview.conditions]
    parts += [Text(""), _bars(overview.tasks_by_status, width)]
    failures, running = overview.failures[:SHOWN_EVENTS], overview.running[:SHOWN_EVENTS]
    room = max(2, height - FIXED_LINES - len(failures) - len(running) - len(overview.conditions))
    parts += [Text(""), _templates(overview.templates, room)]
    if len(overview.templates) > room:
        parts.append(_line(f"… and {len(overview.templates) - room} more templates", "dim"))
    if failures:
        parts += [Text(""), _line("Latest failures", "bold"), *_failures(failures)]
    if running:
        parts += [Text(""), _line("Longest running", "bold")]
        for row in running:
            place = f" on {row.nodename}" if row.nodename else ""
            parts.append(
                _line(f"{describe_duration(row.seconds):>8}  {row.task_name} (task {row.task_id}){place}")
            )
    return Group(*parts)


def _line(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _failures(rows: Sequence[TaskErrorRow]) -> list[Any]:
    from jobmon.client.commands.watch import failure_line

    return [_line(failure_line(row), "red") for row in rows]


def _bars(tasks_by_status: dict[str, int], width: int) -> RenderableType:
    """A bar for each state."""
    from rich.table import Table
    from rich.text import Text

    from jobmon.client.commands.watch import count_by_label
    from jobmon.core.words import thousands

    counts = count_by_label(tasks_by_status)
    total = sum(counts.values())
    room = max(NARROWEST_BAR, min(WIDEST_BAR, width - 30))
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(width=room)
    table.add_column(justify="right")
    table.add_column(justify="right")
    for label, count in counts.items():
        share = count / total if total else 0.0
        length = round(room * share) or (1 if count else 0)
        bar = Text("━" * length, style=STYLES[label])
        table.add_row(SHORT_LABELS.get(label, label), bar, thousands(count), f"{share:.1%}")
    return table


def _templates(templates: Sequence[TemplateProgressRow], room: int) -> RenderableType:
    """Counts of the templates that have most to do, in the order in which they were made."""
    from rich.table import Table

    from jobmon.client.commands.watch import count_by_label
    from jobmon.core.words import describe_duration

    counts = {row.array_id: count_by_label(row.tasks_by_status) for row in templates}

    def to_do(row: TemplateProgressRow) -> int:
        return sum(counts[row.array_id].values()) - counts[row.array_id]["DONE"]

    shown = {row.array_id for row in sorted(templates, key=to_do, reverse=True)[:room]}
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("template", no_wrap=True, overflow="ellipsis", max_width=30, min_width=8)
    for name in ("done", "running", "failed", "pending", "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in templates:
        if row.array_id in shown:
            count = counts[row.array_id]
            table.add_row(
                _line(row.name),
                str(count["DONE"]),
                str(count["RUNNING"]),
                _line(str(count["FATAL"]), STYLES["FATAL"] if count["FATAL"] else ""),
                str(count["PENDING"] + count["SCHEDULED"]),
                "" if row.mean_seconds is None else describe_duration(row.mean_seconds),
            )
    return table
