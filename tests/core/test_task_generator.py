"""Functions as tasks: what is refused when they are decorated, their names, and what is run."""

# ruff: noqa: UP045 (both spellings must work)

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import pytest

from jobmon.client.task import Task
from jobmon.client.task_template_version import _reserved_names
from jobmon.core import task_generator as module
from jobmon.core.task_function import RESERVED_NAMES
from jobmon.core.task_generator import (
    TaskGenerator,
    create_task_name,
    imported_by_task,
    make_cli_argument_string,
    task_generator,
)

if TYPE_CHECKING:
    from decimal import Decimal

CALLS: list[tuple[Any, ...]] = []


@module.task_generator(serializers={Path: (str, Path)}, tool_name="t", naming_args=["a"])
def call(a: int, b: Optional[str], c: list[float], d: Path = Path("here"), *, e: str = None) -> str:  # noqa: RUF013
    """Note the call.

    Nothing else.
    """
    CALLS.append((a, b, c, d, e))
    return "done"


def plain(a: int) -> None:
    """A function."""


def test_the_decorated_name_is_a_generator_that_knows_its_function() -> None:
    assert isinstance(call, TaskGenerator)
    assert (call.name, call.__doc__, call.__module__) == ("call", call.task_function.__doc__, __name__)
    assert not callable(call)
    assert list(call.parameters) == ["a", "b", "c", "d", "e"]
    assert TaskGenerator(plain, {}, "t", []).task_function is plain


def test_run_calls_the_function() -> None:
    CALLS.clear()
    assert call.run(["a=1", "c=[1,nan]", "b=x=y", "d=/tmp/x y"]) == "done"
    assert call.run(["c=[]", "a=-2", "e=None"]) == "done"
    (first, second) = CALLS
    assert (first[:2], first[2][0], first[3:]) == ((1, "x=y"), 1.0, (Path("/tmp/x y"), None))
    assert second == (-2, None, [], Path("here"), None)


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        (["a=1"], TypeError, "needs a value for c"),
        (["a=1", "c=[]", "f=1"], TypeError, "no parameter f. It is call\\(a: int, b: str \\| None = None"),
        (["a=1", "a=2", "c=[]"], TypeError, "'a' is given twice"),
        (["1"], TypeError, "write name=value"),
        (["a=1", "c=1"], ValueError, "argument 'c' cannot be read as list\\[float\\]"),
        (["a=None", "c=[]"], ValueError, "argument 'a' cannot be read as int"),
    ],
)
def test_a_wrong_command_line_names_the_argument(args: list[str], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        call.run(args)


def test_help_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    call.help()
    said = capsys.readouterr().out
    assert "Nothing else." in said
    assert "  a: int (required)\n" in said
    assert "  b: str | None (default None)\n" in said
    assert "  d: Path (default" in said


def test_values_and_texts() -> None:
    assert (
        call.serialize([1.5, 2.0], list[float])
        == call.serialize_array([1.5, 2.0], list[float])
        == ["1.5", "2.0"]
    )
    assert (call.serialize(None, Optional[int]), call.serialize("", str)) == ("None", '""')
    assert call.deserialize("[a,b]", tuple[Path]) == (Path("a"), Path("b"))
    assert make_cli_argument_string(["a", "b"]) == "'[a,b]'"
    assert make_cli_argument_string("a") == "a"
    with pytest.raises(TypeError, match="no collection"):
        call.serialize_array(1, int)
    with pytest.raises(TypeError, match="is needed"):
        call.serialize("1", int)


# -- what is refused ----------------------------------------------------------------------------------
def unannotated(a): ...  # type: ignore[no-untyped-def]
def nested(a: list[list[int]]) -> None: ...
def unknown(a: complex) -> None: ...
def unimported(a: Decimal) -> None: ...
def unfound(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def many(*a: int) -> None: ...
def more(**a: int) -> None: ...
def positional(a: int, /) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (unannotated, "has no type; write a: str"),
        (nested, "list\\[list\\[int\\]\\] is a nested collection"),
        (unknown, "complex is not supported"),
        (unimported, "'Decimal' is not defined"),
        (unfound, "'Nowhere' is not defined"),
        (many, "variadic"),
        (more, "variadic"),
        (positional, "positional-only"),
    ],
)
def test_parameters_that_cannot_be_given(function: Any, words: str) -> None:
    """At once, with the name of the parameter and of the function."""
    with pytest.raises(TypeError, match=words) as caught:
        task_generator({}, "t", ["a"])(function)
    assert f"Parameter 'a' of {function.__name__}()" in str(caught.value)


def test_names_that_making_a_task_needs_are_refused() -> None:
    """The list here is that of the client, which core does not import."""
    assert _reserved_names() | {"executable"} == RESERVED_NAMES

    def renamed(name: str) -> None: ...

    with pytest.raises(TypeError, match=r"Parameter 'name' of renamed.*choose another name"):
        task_generator({}, "t", [])(renamed)


def test_types_that_only_the_serializers_know() -> None:
    class Local:
        pass

    def function(a: Local, b: list[Local]) -> Unseen: ...  # type: ignore[name-defined]  # noqa: F821

    generator = TaskGenerator(function, {Local: (lambda _: "x", lambda _: Local())}, "t", [])
    assert [str(each.type) for each in generator.parameters.values()] == ["Local", "list[Local]"]


@pytest.mark.parametrize("serializers", [[Path], {Path: str}, {Path: (str,)}, {Path: (str, None)}])
def test_serializers_must_be_pairs_of_functions(serializers: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="serialize"):
        TaskGenerator(plain, serializers, "t", [])


def test_a_serializer_that_returns_no_text() -> None:
    def function(a: Path) -> None: ...

    generator = TaskGenerator(function, {Path: (bytes, Path)}, "t", [])
    with pytest.raises(TypeError, match=r"function.*argument 'a': the serializer of Path must return a text"):
        generator.word("a", Path("x"))


# -- names ----------------------------------------------------------------------------------------------
def test_no_naming_args_is_warned_about_but_not_in_a_task() -> None:
    with pytest.warns(UserWarning, match="'plain' has no naming_args") as caught:
        generator = task_generator({}, "t")(plain)
    assert generator.naming_args == ["a"]
    assert caught[0].filename == __file__
    with imported_by_task(), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert task_generator({}, "t")(plain).naming_args == ["a"]
    with pytest.raises(
        ValueError, match="naming_args of task_generator 'plain' has 'x'; the parameters are a"
    ):
        task_generator({}, "t", ["a", "x"])(plain)


@pytest.mark.parametrize(
    ("kwargs", "prefix", "name"),
    [
        ({"a": 1, "b": "x"}, "fit", "fit:a=1:b=x"),
        ({}, "fit", "fit"),
        ({"a": 'it\'s a/b\n"c"\\'}, "fit", "fit:a=it_s_a_b__c__"),
        ({"a": [1, 2]}, "fit", "fit:a=[1,2]"),
        ({"a": None}, "", "a=None"),
        ({}, "2fit", "_2fit"),
        ({"a": "x" * 300}, "fit", "fit:a=" + "x" * 243),
        ({}, "", "_"),
    ],
)
def test_names_of_tasks_are_names_a_task_may_have(kwargs: dict[str, Any], prefix: str, name: str) -> None:
    assert create_task_name(kwargs, prefix) == name
    assert Task.is_valid_job_name(name)


def test_a_function_of_the_user_may_make_the_name() -> None:
    assert (
        create_task_name({"a": 1}, "fit", lambda prefix, kwargs: f"{prefix} no {kwargs['a']}") == "fit_no_1"
    )
    with pytest.raises(TypeError, match="must return a text"):
        create_task_name({}, "fit", lambda prefix, kwargs: 3)


# -- Sphinx -----------------------------------------------------------------------------------------------
def test_directives_document_generators() -> None:
    """All that Sphinx does with them but the theme."""
    core = pytest.importorskip("docutils.core")
    directives = pytest.importorskip("docutils.parsers.rst.directives")

    class App:
        def add_directive(self, name: str, directive: Any) -> None:
            directives.register_directive(name, directive)

    assert module.setup(App())["parallel_read_safe"]
    settings = {"report_level": 5, "halt_level": 5, "syntax_highlight": "none"}
    for text in (f".. task_generator:: {__name__}.call", f".. task_generator_module:: {__name__}"):
        page = core.publish_string(
            text, writer="pseudoxml", settings_overrides={**settings, "output_encoding": "unicode"}
        )
        assert "call(a: int, b: str | None = None, c: list[float]" in page
        assert "Nothing else." in page
        assert "Default: None." in page
        assert "--func_name call a=… b=…" in page
    page = core.publish_string(
        f".. task_generator:: {__name__}.nothing",
        writer="pseudoxml",
        settings_overrides={**settings, "report_level": 1},
    )
    assert b"There is no task generator 'nothing'" in page
