"""Write the pages of the documentation that are made from tables in the code.

``python docs/generate.py`` rewrites them; ``tests/docs/test_generated.py`` fails when that is due.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from jobmon.core import states
from jobmon.core.configuration import KEYS, Key

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py from {source}; change that and run it again. -->"


class Machine(NamedTuple):
    """A state machine as the page shows it; ``events`` says what the states mean to the machine above it."""

    title: str
    table: Mapping[Any, Mapping[Any, Any]]
    events: Mapping[Any, StrEnum]
    above: str
    user_labels: Mapping[Any, str]


MACHINES = (
    Machine("Workflow", states.WORKFLOW, {}, "", {}),
    Machine("Workflow run", states.WORKFLOW_RUN, states.WORKFLOW_EVENT_OF_RUN_STATE, "workflow", {}),
    Machine("Task", states.TASK, {}, "", states.TASK_USER_LABEL),
    Machine(
        "Task instance",
        states.TASK_INSTANCE,
        states.TASK_EVENT_OF_INSTANCE_STATE,
        "task",
        states.TASK_INSTANCE_USER_LABEL,
    ),
)


def diagram(table: Mapping[Any, Mapping[Any, Any]]) -> Iterator[str]:
    """Lines of a Mermaid state diagram: one arrow per pair of states, labelled with the events."""
    arrows: defaultdict[tuple[Any, Any], list[str]] = defaultdict(list)
    for state, row in table.items():
        for event, target in row.items():
            if target is not states.STALE:
                arrows[state, target].append(event)
    yield from ("```mermaid", "stateDiagram-v2")
    reached = {target for _, target in arrows}
    for state in table:
        if state is next(iter(table)):
            yield f"    [*] --> {state.name}"
        elif state not in reached:
            yield f"    {state.name}"
    for (state, target), events in arrows.items():
        yield f"    {state.name} --> {target.name}: {', '.join(events)}"
    yield "```"


def row(*cells: object) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def ignored(events: Mapping[Any, Any]) -> str:
    """The events that change nothing in a state, in words."""
    late = [event for event, target in events.items() if target is states.STALE]
    if not late:
        return ""
    others = [event for event in type(late[0]) if event not in late]
    if not others:
        return "every event"
    return f"all but {', '.join(others)}" if len(others) < len(late) else ", ".join(late)


def state_table(machine: Machine) -> Iterator[str]:
    """Lines of the table of a machine's states."""
    header = ["Stored", "State", "Meaning"]
    if machine.user_labels:
        header.append("Users see")
    if machine.above:
        header.append(f"Event for the {machine.above}")
    header.append("Ignored here")
    yield row(*header)
    yield row(*("---" for _ in header))
    for state, events in machine.table.items():
        cells = [f"`{state}`", f"`{state.name}`", states.DESCRIPTIONS[type(state)][state]]
        if machine.user_labels:
            cells.append(machine.user_labels[state])
        if machine.above:
            cells.append(machine.events.get(state, ""))
        cells.append(ignored(events))
        yield row(*cells)


def states_page() -> str:
    """The page of states and transitions."""
    lines = [
        NOTE.format(source="jobmon.core.states"),
        "# States",
        "",
        "There are four state machines. A *task instance* is one attempt to run a *task*; a *workflow run*",
        "is one controller's execution of a *workflow*. When a task instance enters a state, the event named",
        "in its table happens to the task, and likewise with a workflow run and its workflow. An event that",
        "may come late or twice in a state is ignored there; any other event that has no arrow is refused.",
    ]
    for machine in MACHINES:
        lines += ["", f"## {machine.title}", "", *diagram(machine.table), "", *state_table(machine)]
    return "\n".join(lines) + "\n"


def default(key: Key) -> str:
    """Default of a configuration key as one would write it into a file."""
    return "" if key.default in ("", {}) else f"`{json.dumps(key.default).strip(chr(34))}`"


def configuration_page() -> str:
    """The page of configuration keys."""
    lines = [
        NOTE.format(source="jobmon.core.configuration"),
        "# Configuration",
        "",
        "Jobmon runs without any. A value is taken from the first of these that has it:",
        "",
        "1. the program: arguments of a call, `JobmonConfig(dict_config=…)`;",
        "2. the environment: `JOBMON__<SECTION>__<KEY>`, as in the tables below;",
        "3. the configuration file: the one named by `JOBMON__CONFIG_FILE`, else that of a site's",
        "   `jobmon_installer…` package, else `~/.jobmon/config.yaml`. It holds sections with those keys",
        "   that differ from the default;",
        "4. the default.",
        "",
        "`jobmon config show` prints what applies, `jobmon config set SECTION.KEY VALUE` writes the file.",
        "Unknown keys are warned about. Keys marked *secret* are not shown; *open* ones hold your own keys.",
    ]
    sections: dict[str, list[Key]] = defaultdict(list)
    for key in KEYS:
        sections[key.section].append(key)
    for section, keys in sections.items():
        lines += ["", f"## {section}", "", row("Key", "Default", "Meaning", "Environment"), row(*["---"] * 4)]
        for key in keys:
            marks = " *secret*" * key.secret + " *open*" * key.is_open
            lines.append(row(f"`{section}.{key.name}`{marks}", default(key), key.meaning, f"`{key.env}`"))
    return "\n".join(lines) + "\n"


PAGES = {"states.md": states_page, "configuration.md": configuration_page}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}")
