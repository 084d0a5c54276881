"""The printed form of a plan: plain words and tables."""

from __future__ import annotations

from jobmon.client.plan import REASON_WORDS, Chain, Plan, TemplateDifference
from jobmon.client.table import fitting_table
from jobmon.core.resources import describe_memory
from jobmon.core.words import counted, describe_duration
from jobmon.serializers.plan import PlanReason


def plan_text(plan: Plan, width: int | None = None) -> str:
    """A plan for people.

    Args:
        plan: what a run would do.
        width: columns its tables may take; ``None``: as many as their cells need.
    """
    parts = [_title(plan), *(f"Problem: {problem}" for problem in plan.problems)]
    if plan.num_tasks:
        parts += [_templates(plan, width), _queues(plan, width), *_chains(plan)]
    parts += [_difference(each) for each in plan.differences]
    parts += plan.notes
    return "\n".join(part for part in parts if part)


def _title(plan: Plan) -> str:
    which = "A new workflow" if plan.workflow_id is None else f"Workflow {plan.workflow_id}"
    name = f" '{plan.name}'" if plan.name else ""
    reasons = ", ".join(
        f"{count} {word}" for word, count in plan.counts.items() if word != REASON_WORDS[PlanReason.DONE]
    )
    done = plan.counts.get(REASON_WORDS[PlanReason.DONE], 0)
    text = f"{which}{name}: a run would run {plan.num_to_run} of {plan.num_tasks} tasks"
    if reasons:
        text += f" ({reasons})"
    return text + (f" and skip {done} that are done." if done else ".")


def _templates(plan: Plan, width: int | None) -> str:
    rows = [
        (
            each.template,
            str(each.num_tasks),
            str(each.num_to_run),
            ", ".join(f"{count} {word}" for word, count in each.counts.items()),
            "" if each.limit is None else str(each.limit),
            "unknown"
            if each.seconds_per_task is None
            else f"{describe_duration(each.seconds_per_task)} ({each.seconds_from})",
        )
        for each in plan.templates
    ]
    return fitting_table(("TEMPLATE", "TASKS", "TO RUN", "WHY", "AT ONCE", "TIME PER TASK"), rows, width)


def _queues(plan: Plan, width: int | None) -> str:
    if not plan.queues:
        return ""
    headers = ["CLUSTER", "QUEUE", "TASKS", "CORE HOURS", "GiB HOURS", "LARGEST MEMORY", "WITHOUT RUN TIME"]
    if not any(each.num_unknown for each in plan.queues):
        headers.pop()
    rows = [
        (
            each.cluster,
            each.queue,
            str(each.num_tasks),
            f"{each.core_hours:.1f}",
            f"{each.memory_gib_hours:.1f}",
            describe_memory(each.largest_memory_gib) if each.largest_memory_gib else "",
            str(each.num_unknown or ""),
        )[: len(headers)]
        for each in plan.queues
    ]
    return f"Asked for:\n{fitting_table(headers, rows, width)}"


def _chains(plan: Plan) -> list[str]:
    if not plan.num_to_run:
        return []
    longest, slowest = plan.longest_chain, plan.critical_path
    lines = [f"Longest chain: {counted(longest.num_tasks, 'task')}: {chain_words(longest)}"]
    if slowest.seconds is not None:
        time = describe_duration(slowest.seconds)
        lines.append(f"Critical path: {time} in {counted(slowest.num_tasks, 'task')}: {chain_words(slowest)}")
    limit = "no limit" if plan.limit is None else f"limit {plan.limit}"
    lines.append(f"Side by side: up to {counted(plan.width, 'task')} ({limit}).")
    if plan.wall_seconds is None:
        why = (
            "some tasks could not start"
            if plan.num_never
            else "no task asks for a run time, and none was measured before"
        )
        lines.append(f"Wall time: unknown; {why}.")
    else:
        at_least = "at least" if plan.is_wall_minimum else "about"
        lines.append(
            f"Wall time: {at_least} {describe_duration(plan.wall_seconds)}, with up to "
            f"{counted(plan.at_once, 'task')} at once, when nothing waits in a queue and nothing fails."
        )
    return lines


def chain_words(chain: Chain) -> str:
    """The tasks of a chain, with a sign where some are left out."""
    return " -> ".join(name or "…" for name in chain.tasks)


def _difference(each: TemplateDifference) -> str:
    head = f"Template {each.template}: {each.num_new} new, {each.num_gone} gone, {each.num_changed} changed tasks"
    lines = [head]
    lines += [f"    new: {name}" for name in each.new]
    lines += [f"    gone: {name}" for name in each.gone]
    lines += [f"    changed: {task.name}: {'; '.join(task.changes)}" for task in each.changed]
    return "\n".join(lines)
