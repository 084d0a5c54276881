"""Lines of the log: one shape for machines, one for people, and no secrets in either."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmon.core.exceptions import ConfigError
from jobmon.core.log_format import (
    FACTS,
    JsonFormatter,
    TextFormatter,
    bound_facts,
    formatter,
    settings_to_stderr,
    without_secrets,
)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("jobmon.server", logging.INFO, "x.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def failed() -> logging.LogRecord:
    made = record("it failed")
    try:
        raise ValueError("postgresql://me:hunter2@db/jobmon is away")
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def test_a_line_of_json_has_the_facts_as_fields() -> None:
    """Those bound where it was written, and its own, which are stronger; never over what every line has."""
    facts = {"request_id": "abc", "workflow_id": 7, "status": 0, "level": "forged"}
    with bound_facts(lambda: facts):
        line = json.loads(JsonFormatter().format(record("done %d", 3, **{FACTS: {"status": 200}})))
    assert line["message"] == "done 3"
    assert (line["request_id"], line["workflow_id"], line["status"], line["level"]) == ("abc", 7, 200, "INFO")
    assert line["time"].endswith("+00:00")
    assert "request_id" not in json.loads(JsonFormatter().format(record("outside")))


def test_a_line_for_people_ends_with_what_it_does_not_say_itself() -> None:
    """So that the id of a request is found in every line about it."""
    with bound_facts(lambda: {"request_id": "abc", "workflow_id": 7, "user": ""}):
        line = TextFormatter().format(record("request abc failed"))
    assert line.endswith(" INFO jobmon.server: request abc failed [workflow_id=7]")
    assert TextFormatter().format(record("quiet")).endswith(": quiet")


def test_a_traceback_is_part_of_its_line() -> None:
    """In JSON as one field; in both without the password."""
    line = json.loads(JsonFormatter().format(failed()))
    assert "ValueError: postgresql://me:***@db/jobmon" in line["exception"]
    text = TextFormatter().format(failed())
    assert "ValueError" in text
    assert "hunter2" not in text + line["exception"]


@given(st.text(max_size=60), st.text(max_size=30))
def test_nobody_can_forge_a_line(message: str, user: str) -> None:
    """Whatever a client calls itself, one record is one line and, in JSON, one object."""
    with bound_facts(lambda: {"user": user}):
        assert json.loads(JsonFormatter().format(record("%s", message))) is not None
        assert "\n" not in JsonFormatter().format(record("%s", message))
        assert len(TextFormatter().format(record("%s", message)).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdef123", "Authorization: Bearer ***"),
        ("mysql+pymysql://jobmon:pa55@db:3306/x", "mysql+pymysql://jobmon:***@db:3306/x"),
        ("token=abc&x=1", "token=***&x=1"),
        ('{"password": "abc"}', '{"password": "***"}'),
        ("shown: jobmon_" + "a" * 43, "shown: jobmon_***"),
        ("xoxb-12-abc", "xox-***"),
        ("jobmon_distributor started; 3 tokens were made", "jobmon_distributor started; 3 tokens were made"),
        ("http://host:3000/api at 12:30", "http://host:3000/api at 12:30"),
        ("Bearer tokens; whose workflows are.", "Bearer tokens; whose workflows are."),
        ("The bearer token is missing or wrong.", "The bearer token is missing or wrong."),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text: str, kept: str) -> None:
    assert without_secrets(text) == kept


def test_a_format_nobody_knows_is_refused() -> None:
    """With those there are."""
    with pytest.raises(ConfigError, match="text or json"):
        formatter("xml")


def test_the_web_server_writes_in_the_same_shape() -> None:
    """All loggers share one handler."""
    settings = settings_to_stderr("json")
    assert {each["handlers"][0] for each in settings["loggers"].values()} == {"default"}
    assert settings["formatters"]["default"]["()"] == "jobmon.core.log_format.JsonFormatter"
