"""Write the pages of the documentation that are made from tables in the code.

``python docs/generate.py`` rewrites them; ``tests/docs/test_generated.py`` fails when that is due.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import click
import state_diagrams
from database_tables import tables_page
from promise_tables import TABLES as PROMISE_TABLES
from slurm_tables import TABLES as SLURM_TABLES

from jobmon.client.cli import cli
from jobmon.client.cli.flat import FLAT
from jobmon.core import states
from jobmon.core.configuration_keys import KEYS, Key

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/generate.py from {source}; change that and run it again. -->"


class Machine(NamedTuple):
    """A state machine as the page shows it; ``events`` says what the states mean to the machine above it."""

    title: str
    drawing: str
    table: Mapping[Any, Mapping[Any, Any]]
    events: Mapping[Any, StrEnum]
    above: str
    user_labels: Mapping[Any, str]


MACHINES = (
    Machine("Workflow", "workflow", states.WORKFLOW, {}, "", {}),
    Machine(
        "Workflow run",
        "workflow_run",
        states.WORKFLOW_RUN,
        states.WORKFLOW_EVENT_OF_RUN_STATE,
        "workflow",
        {},
    ),
    Machine("Task", "task", states.TASK, {}, "", states.TASK_USER_LABEL),
    Machine(
        "Task instance",
        "task_instance",
        states.TASK_INSTANCE,
        states.TASK_EVENT_OF_INSTANCE_STATE,
        "task",
        states.TASK_INSTANCE_USER_LABEL,
    ),
)


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
        lines += [
            "",
            f"## {machine.title}",
            "",
            f"![{machine.title}: states and transitions](diagrams/{machine.drawing}.svg)",
            "",
            *state_table(machine),
        ]
    return "\n".join(lines) + "\n"


def default(key: Key) -> str:
    """Default of a configuration key as one would write it into a file."""
    return "" if key.default in ("", {}) else f"`{json.dumps(key.default).strip(chr(34))}`"


def configuration_page() -> str:
    """The page of configuration keys."""
    lines = [
        NOTE.format(source="jobmon.core.configuration_keys"),
        "# Configuration",
        "",
        "Jobmon runs without any. A value is taken from the first of these that has it:",
        "",
        "1. the program: arguments of a call, `JobmonConfig(dict_config=…)`;",
        "2. the environment: `JOBMON__<SECTION>__<KEY>`, as in the tables below;",
        "3. a file `.env` in the working directory: lines `NAME=value`, with or without `export`, values in quotes or",
        "   not, `#` before a comment. The environment itself is not changed by it;",
        "4. the configuration file: the one named by `JOBMON__CONFIG_FILE`, else that of a site's",
        "   `jobmon_installer…` package (its function `get_config_file()`), else `~/.jobmon/config.yaml`. It holds",
        "   sections with those keys that differ from the default; in its values `${NAME}` stands for a variable of",
        "   the environment or of `.env`;",
        "5. the default.",
        "",
        "`jobmon config show --origin` prints what applies and where each value comes from,",
        "`jobmon config set SECTION.KEY VALUE` writes the file, `jobmon doctor` looks for mistakes.",
        "Texts of the environment are read as numbers, truth values (true, t, yes, false, f, no), JSON or Python",
        "literals, in this order, except where the key is a text. Unknown keys are warned about.",
        "",
        "Keys marked *secret* are masked, as are passwords in addresses and entries named like secrets. *Open* keys",
        "hold entries of your own, which the environment spells with `__`: `JOBMON__LOGGING__CLIENT__VERSION` is the",
        "entry `version` of `logging.client`. Keys marked *no effect* are accepted, so that files written for other",
        "versions can be kept, but do nothing in this one.",
    ]
    sections: dict[str, list[Key]] = defaultdict(list)
    for key in KEYS:
        sections[key.section].append(key)
    for section, keys in sections.items():
        lines += [
            "",
            f"## {section}",
            "",
            row("Key", "Default", "Meaning, and name in the environment"),
            row(*["---"] * 3),
        ]
        for key in keys:
            marks = " *secret*" * key.secret + " *open*" * key.is_open + " *no effect*" * key.is_idle
            meaning = f"{key.meaning}<br>`{key.env}`"
            lines.append(row(f"`{section}.{key.name}`{marks}", default(key), meaning))
    return "\n".join(lines) + "\n"


HELP_WIDTH = 90
CLI_INTRODUCTION = """
`jobmon` looks at workflows, changes them by hand, runs, resumes and stops them. Every command explains itself with
`-h`; the same texts stand below.

* **Ids** of workflows and tasks stand alone or behind their option: `status 12 13`, `status -w 12 13`.
* **Lists** are written `-t 1 2 3` or `-t 1 -t 2 -t 3`.
* **Output**: where rows come out, `-o table` is for people, `-o json` and `-o csv` are for programs. In a terminal
  too narrow for the table each row is shown as a list. Colours are left out
  when the output is piped or `NO_COLOR` is set.
* **Exit codes**: 0 done; 1 an error, one line of which is on stderr (`--debug` shows where it arose); 2 the command line
  was not understood; 130 interrupted. `-v` logs every request to the server.

## Tab completion

Put this line into the start-up file of your shell, and open a new terminal. Commands, options and
the values an option may have are completed.

| Shell | File | Line |
| --- | --- | --- |
| bash 4.4 or newer | `~/.bashrc` | `eval "$(jobmon completion bash)"` |
| zsh | `~/.zshrc`, below `compinit` | `eval "$(jobmon completion zsh)"` |
| fish | `~/.config/fish/config.fish` | `jobmon completion fish \\| source` |
"""


def help_text(context: click.Context) -> str:
    """``--help`` of a command, the same whatever terminal this runs in."""
    return context.command.get_help(context).rstrip()


def help_sections(context: click.Context, level: int) -> Iterator[str]:
    """Lines of the sections of a command and of what is below it."""
    yield from ("", f"{'#' * level} {context.command_path}", "", "```text", help_text(context), "```")
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            if not command.hidden:
                yield from help_sections(click.Context(command, parent=context, info_name=name), level + 1)


def flat_rows() -> Iterator[str]:
    """Rows of the table of flat names: what each of its options is today."""
    for name, flat in FLAT.items():
        options = []
        for each in flat.parameters:
            if isinstance(each.parameter, click.Option):
                today = f"`{each.now}`" if each.now else "what happens anyway"
                options.append(f"`{'/'.join(each.parameter.opts)}` {today}")
        yield row(f"`{name}`", f"`jobmon {flat.now}`", "; ".join(options))


def cli_page() -> str:
    """The page of the command line."""
    root = click.Context(
        cli, info_name="jobmon", terminal_width=HELP_WIDTH, color=False, **cli.context_settings
    )
    lines = [
        NOTE.format(source="the help texts in jobmon.client.cli"),
        "# Command line",
        CLI_INTRODUCTION.rstrip(),
        *help_sections(root, 2),
        "",
        "## Earlier names",
        "",
        "The names of earlier generations work as they did, with their own options. Each says what to type today.",
        "",
        row("Name", "Today", "Options, and what they are today"),
        row("---", "---", "---"),
        *flat_rows(),
    ]
    return "\n".join(lines) + "\n"


def database_page() -> str:
    """The page of the tables in the database."""
    return NOTE.format(source="jobmon.server.web.models") + "\n" + tables_page()


TABLES = {**SLURM_TABLES, **PROMISE_TABLES}
TABLE_PLACE = re.compile(
    r"(?P<begin><!-- table: (?P<name>[\w-]+)[^>]*-->\n).*?(?P<end><!-- end of table -->)", re.DOTALL
)


def with_tables(text: str) -> str:
    """A hand-written page with its tables as the code has them today; each stands between two comments."""

    def filled(place: re.Match[str]) -> str:
        return "\n".join([place["begin"], *TABLES[place["name"]](), "", place["end"]])

    return TABLE_PLACE.sub(filled, text)


def pages_with_tables() -> Iterator[str]:
    """Names of the hand-written pages that have a place for a table."""
    for page in sorted(HERE.rglob("*.md")):
        if TABLE_PLACE.search(page.read_text(encoding="utf-8")):
            yield str(page.relative_to(HERE))


def _page_with_tables(name: str) -> Callable[[], str]:
    return lambda: with_tables((HERE / name).read_text(encoding="utf-8"))


PAGES: dict[str, Callable[[], str]] = {
    "states.md": states_page,
    "configuration.md": configuration_page,
    "cli.md": cli_page,
    "database.md": database_page,
    **{name: _page_with_tables(name) for name in pages_with_tables()},
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"docs/{name}")
    for drawing in state_diagrams.draw_stale():
        print(f"docs/diagrams/{drawing}")
    for drawing in state_diagrams.write_pages():
        print(f"src/jobmon/server/web/ui/drawing/machines/{drawing}")
