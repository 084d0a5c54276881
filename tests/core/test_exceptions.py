"""The errors Jobmon raises on purpose."""

from __future__ import annotations

import inspect
import re

import pytest

from jobmon.core import exceptions
from jobmon.core.exceptions import InvalidStateTransition, JobmonError, TransitionError, UsageError

ALL = [
    kind
    for _, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, JobmonError) and not issubclass(kind, InvalidStateTransition)
]


@pytest.mark.parametrize("kind", ALL)
def test_the_docstring_is_the_message_where_none_is_given(kind: type[JobmonError]) -> None:
    """So every error says something."""
    assert str(kind()) == inspect.cleandoc(kind.__doc__ or "")
    assert str(kind("this")) == "this"
    assert str(kind()).endswith((".", "?"))


@pytest.mark.parametrize("kind", ALL)
def test_the_status_says_whose_fault_it_is(kind: type[JobmonError]) -> None:
    """4xx is the caller's: it is not tried again."""
    is_usage = issubclass(kind, UsageError | TransitionError)
    assert (400 <= kind.status_code < 500) == is_usage


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every error is named there."""
    named = set(re.findall(r"[A-Z]\w+", exceptions.__doc__ or ""))
    missing = {kind.__name__ for kind in ALL} - named
    assert missing <= {"InvalidUsage", "NotFoundError", "NotAllowedError"}


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("UnknownClusterError", ValueError),
        ("UnknownQueueError", ValueError),
        ("EmptyWorkflowError", RuntimeError),
        ("RetryBudgetExhausted", RuntimeError),
        ("WorkflowTimeoutError", RuntimeError),
    ],
)
def test_scripts_that_catch_builtin_errors_go_on_working(name: str, builtin: type[Exception]) -> None:
    """As the existing Jobmon raised them."""
    assert issubclass(getattr(exceptions, name), builtin)


def test_an_illegal_transition_tells_its_story() -> None:
    """One earlier transition a line."""
    error = InvalidStateTransition("Task", 5, "DONE", "start", ["queued", "run"])
    assert str(error) == "Task 5 is DONE: 'start' is not allowed from there.\n  queued\n  run"
    assert (error.model, error.id, error.story) == ("Task", 5, ("queued", "run"))
