"""The filters of the list of workflows as they stand in an address. Pure.

Rules
-----
1. What an address says is all there is: the same address, opened by somebody else, shows the same; only ``user``, where it is
   absent, means who looks.
2. ``user``, ``tool``, ``name``, ``attribute``, ``status`` and ``id`` are lists with commas. ``!`` before an item excludes it; in
   ``args`` and ``value``, which may have commas in them, it excludes the whole text. ``user!=ada`` is ``user=!ada``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from jobmon.core.states import WorkflowStatus
from jobmon.server.web.store.listing import COUNTED, SORTS, Choice, WorkflowFilter

LISTS = ("user", "tool", "name", "attribute", "status", "id")
TEXTS = ("args", "value")
DATES = ("from", "to")
FILTERS = ("user", "tool", "name", "status", "id", "args", "attribute", "value", "from", "to", "tool_id")
"""Filters by their name in an address, in the order in which they are shown."""
RARE_FILTERS = frozenset({"args", "attribute", "value", "status", "from", "to"})
ALIASES = {"workflow_id": "id", "workflow_name": "name", "workflow_args": "args"}
EVERYBODY = "*"
PAGE_SIZE = 50
LAST_PAGE = COUNTED // PAGE_SIZE
LARGEST_ID = 2**63 - 1
ID_CHARACTERS = 20
MOST_ITEMS = 200
STATUS_WORDS: Mapping[str, WorkflowStatus] = {status.name.lower(): status for status in WorkflowStatus}
"""Statuses by the word that an address has for them."""


@dataclass(frozen=True)
class Asked:
    """What an address asks for.

    Attributes:
        filters: text of each filter that is there.
        sort: column; a minus before it: the largest first.
        page: from 1.
        before: only ids below this.
        is_tidy: the address says it in the shortest way.
        is_mine: the user is absent, so that the viewer's own are meant.
    """

    filters: Mapping[str, str] = field(default_factory=dict)
    sort: str = "-id"
    page: int = 1
    before: int | None = None
    is_tidy: bool = True
    is_mine: bool = False

    @property
    def has_rare_filters(self) -> bool:
        """Whether there are filters among those that are folded up."""
        return bool(self.filters.keys() & RARE_FILTERS)

    def query(self, **changes: object) -> dict[str, object]:
        """Parameters of the address, some changed; what is empty or usual is left out.

        Changed filters and order lead to the first page again.
        """
        said: dict[str, object] = {
            **self.filters,
            "sort": self.sort,
            "page": self.page,
            "before": self.before,
        }
        if changes.keys() - {"page"}:
            said["page"] = 1
        if changes.keys() - {"page", "before", "sort"}:
            said["before"] = None
        said.update(changes)
        usual: dict[str, object] = {"sort": "-id", "page": 1}
        return {name: value for name, value in said.items() if value and value != usual.get(name)}


def asked_of(query: Sequence[tuple[str, str]]) -> Asked:
    """What an address asks for; values that make no sense are the usual ones, unknown names are nothing."""
    texts: dict[str, list[str]] = {}
    is_tidy = True
    for said, value in query:
        name = said.rstrip("!")
        name = ALIASES.get(name, name)
        text = value.strip()
        if said != name or not text or name in texts:
            is_tidy = False
        negated = _negated(text, name) if said.endswith("!") and text else text
        texts.setdefault(name, [])
        if negated:
            texts[name].append(negated)
    if "user" in texts and not texts["user"]:
        texts["user"] = [EVERYBODY]  # the field was emptied
    filters = {name: ",".join(texts[name]) for name in FILTERS if texts.get(name)}
    sort = texts.get("sort", ["-id"])[-1:] or ["-id"]
    return Asked(
        filters,
        sort[0] if sort[0].removeprefix("-") in SORTS else "-id",
        min(max(1, _number(texts.get("page")) or 1), LAST_PAGE),
        _number(texts.get("before")),
        is_tidy,
        "user" not in texts and "id" not in filters,
    )


def _number(texts: list[str] | None) -> int | None:
    text = texts[-1] if texts else ""
    return int(text) if _is_id(text) else None


def _negated(text: str, name: str) -> str:
    if name in TEXTS:
        return f"!{text}"
    return ",".join(f"!{item.strip()}" for item in text.split(",") if item.strip())


def filter_of(asked: Asked, viewer: str) -> tuple[WorkflowFilter, list[str]]:
    """Which workflows are meant, and what cannot be understood of it, in sentences.

    Args:
        asked: what the address says.
        viewer: name of who looks; empty: nobody knows.
    """
    texts = asked.filters
    problems: list[str] = []
    choices = {name: _choice(texts.get(name, "")) for name in LISTS}
    choices.update({name: _whole(texts.get(name, "")) for name in TEXTS})
    if asked.is_mine and viewer:
        choices["user"] = Choice((viewer,))
    elif EVERYBODY in choices["user"].wanted:
        choices["user"] = Choice((), choices["user"].unwanted)
    found = WorkflowFilter(
        users=choices["user"],
        tools=choices["tool"],
        names=choices["name"],
        args=choices["args"],
        attributes=choices["attribute"],
        values=choices["value"],
        statuses=_statuses(choices["status"], problems),
        ids=_ids(choices["id"], problems),
        tool_id=_tool_id(texts.get("tool_id", ""), problems),
        submitted_from=_day(texts.get("from", ""), problems),
        submitted_to=_day(texts.get("to", ""), problems),
    )
    if found.submitted_from and found.submitted_to and found.submitted_from > found.submitted_to:
        problems.append("The first day is after the last one.")
    return found, problems


def _choice(text: str) -> Choice:
    items = [item.strip() for item in text.split(",")[:MOST_ITEMS]]
    return Choice(
        tuple(item for item in items if item and not item.startswith("!")),
        tuple(item[1:].strip() for item in items if item.startswith("!") and item[1:].strip()),
    )


def _whole(text: str) -> Choice:
    if text.startswith("!"):
        return Choice((), (text[1:],)) if text[1:] else Choice()
    return Choice((text,)) if text else Choice()


def _statuses(choice: Choice, problems: list[str]) -> Choice:
    def letters(words: Sequence[str]) -> tuple[str, ...]:
        found = []
        for word in words:
            status = STATUS_WORDS.get(word.lower().replace(" ", "_"))
            if status is None and word in set(WorkflowStatus):
                status = WorkflowStatus(word)
            if status is None:
                problems.append(f"“{word}” is no status of a workflow. There are: {', '.join(STATUS_WORDS)}.")
            else:
                found.append(status.value)
        return tuple(found)

    return Choice(letters(choice.wanted), letters(choice.unwanted))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < ID_CHARACTERS and int(text) <= LARGEST_ID


def _ids(choice: Choice, problems: list[str]) -> Choice:
    problems += [
        f"“{item}” is no id of a workflow: ids are numbers."
        for item in (*choice.wanted, *choice.unwanted)
        if not _is_id(item)
    ]
    return Choice(tuple(filter(_is_id, choice.wanted)), tuple(filter(_is_id, choice.unwanted)))


def _tool_id(text: str, problems: list[str]) -> int | None:
    if text and not _is_id(text):
        problems.append(f"“{text}” is no id of a tool: ids are numbers.")
        return None
    return int(text) if text else None


def _day(text: str, problems: list[str]) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        problems.append(f"“{text}” is no day: days are written like 2026-01-31.")
        return None
