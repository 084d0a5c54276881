"""Options that choose tasks by what they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def selector_options(function: F) -> F:
    """``--template``, ``--node-arg`` and ``--attribute``; the function takes ``selectors``.

    Those are keyword arguments of :func:`jobmon.client.commands.select.select_tasks`; without any of the options an
    empty dictionary.
    """

    @functools.wraps(function)
    def with_selectors(
        *args: Any,
        templates: tuple[str, ...],
        node_args: tuple[str, ...],
        attributes: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        selectors: dict[str, Any] = {}
        if templates:
            selectors["template"] = list(templates)
        if node_args:
            selectors["node_args"] = _pairs("--node-arg", node_args, is_value_needed=True)
        if attributes:
            selectors["attributes"] = _pairs("--attribute", attributes, is_value_needed=False)
        return function(*args, selectors=selectors, **kwargs)

    decorated: Any = with_selectors
    for option in (
        click.option(
            "--attribute",
            "attributes",
            multiple=True,
            metavar="NAME[=VALUE]",
            help="Only tasks with this attribute, of this value if one is given; may be repeated.",
        ),
        click.option(
            "--node-arg",
            "node_args",
            multiple=True,
            metavar="NAME=VALUE",
            help="Only tasks with this value of a node arg; repeated for one name: any of the values.",
        ),
        click.option(
            "--template",
            "templates",
            multiple=True,
            metavar="NAME",
            help="Only tasks of this task template; repeated: of any of them.",
        ),
    ):
        decorated = option(decorated)
    result: F = decorated
    return result


def _pairs(option: str, texts: Sequence[str], *, is_value_needed: bool) -> dict[str, list[str] | None]:
    """Values by name; ``None`` for a name that stands alone."""
    found: dict[str, list[str] | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or (is_value_needed and not equals):
            raise click.UsageError(f"{option} is written {'NAME=VALUE' if is_value_needed else 'NAME or NAME=VALUE'}, "
                                   f"not '{text}'.")  # fmt: skip
        if equals:
            found[name] = [*(found.get(name) or []), value]
        else:
            found.setdefault(name, None)
    return found
