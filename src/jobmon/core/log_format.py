"""How lines of a log look: for people, or as one JSON object each; and which facts go with them.

Whoever works on a request binds what is known of it, and every line written meanwhile carries that: in JSON as fields of
their own, in text at the end of the line. What looks like a secret is taken out of both.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from jobmon.core.exceptions import ConfigError

FORMATS = ("text", "json")
TEXT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
FACTS = "facts"
"""Attribute of a record with facts of its own: ``logger.info("…", extra={FACTS: {"status": 200}})``."""

Fact = str | int | float | bool | None | Mapping[str, str]
Facts = Mapping[str, Fact]

_bound: ContextVar[Callable[[], Facts] | None] = ContextVar("jobmon_log_facts", default=None)


bind_facts = _bound.set
"""Have what this thread or task logs from now on carry facts; they are asked for when a line is written."""


@contextmanager
def bound_facts(facts: Callable[[], Facts]) -> Iterator[None]:
    """The same, inside the ``with`` block."""
    token = _bound.set(facts)
    try:
        yield
    finally:
        _bound.reset(token)


def current_facts() -> Facts:
    """The facts that are bound here."""
    facts = _bound.get()
    return facts() if facts is not None else {}


_SECRETS = (
    # Words behind "bearer" are no token; tokens have digits, or are long.
    (re.compile(r"(?i)\b(bearer|basic)\s+((?=[\w.~+/=-]*\d)[\w.~+/=-]{8,}|[\w.~+/=-]{20,})"), r"\1 ***"),
    (re.compile(r"(://[^\s:/@\"']*):[^\s/@\"']+@"), r"\1:***@"),
    (re.compile(r"\bjobmon_[A-Za-z0-9_-]{24,}"), "jobmon_***"),
    (re.compile(r"\bxox[a-z]-[A-Za-z0-9-]+"), "xox-***"),
    (
        re.compile(r"(?i)\b(password|passwd|secret|token|api_key)([\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]+"),
        r"\1\2***",
    ),
)


def without_secrets(text: str) -> str:
    """A text with what looks like a password or a token blotted out."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def _one_line(text: str) -> str:
    """A text whose control characters are written out, so that nobody can forge a line of the log."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text).replace("\n", "\\n")


def _facts_of(record: logging.LogRecord) -> dict[str, Fact]:
    own = getattr(record, FACTS, None)
    return {**current_facts(), **(own if isinstance(own, Mapping) else {})}


def _story_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback of a record, and its stack; empty where it has none."""
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, process, message, and the facts bound where it was written."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": without_secrets(record.getMessage()),
        }
        line.update((name, value) for name, value in _facts_of(record).items() if name not in line)
        story = _story_of(self, record)
        if story:
            line["exception"] = without_secrets(story)
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """A line for people: time, process, level, logger, message, and in brackets what is known of the request."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """The line of a record, without its traceback."""
        message = record.getMessage()
        own = getattr(record, FACTS, None) or {}
        known = [
            f"{name}={value}"
            for name, value in current_facts().items()
            if name not in own and isinstance(value, str | int) and str(value) not in message
        ]
        record.message = _one_line(without_secrets(message))
        line = super().formatMessage(record)
        return f"{line} [{_one_line(without_secrets(' '.join(known)))}]" if known else line

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback of an exception."""
        return without_secrets(super().formatException(ei))


def formatter(name: str) -> logging.Formatter:
    """The formatter of a value of ``logging.format``.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in FORMATS:
        raise ConfigError(f"logging.format is '{name}'; it may be {' or '.join(FORMATS)}.")
    return JsonFormatter() if name == "json" else TextFormatter()


def log_to_stderr(name: str, *, tells_requests: bool = False) -> None:
    """Write what this process logs to stderr, from INFO on.

    Args:
        name: value of ``logging.format``.
        tells_requests: whether requests that went well have their lines, too.

    Raises:
        ConfigError: there is no such format.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(name))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("jobmon.access").setLevel(logging.NOTSET if tells_requests else logging.WARNING)


def settings_to_stderr(name: str, level: str = "INFO") -> dict[str, Any]:
    """What to give to ``logging.config.dictConfig`` so that all of a service's loggers write to stderr in one shape.

    Args:
        name: value of ``logging.format``.
        level: of the messages of Jobmon and of the web server.

    Raises:
        ConfigError: there is no such format.
    """
    kind = type(formatter(name))
    own = {"handlers": ["default"], "level": level, "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": {"()": f"{kind.__module__}.{kind.__qualname__}"}},
        "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default"}},
        "loggers": {"jobmon": dict(own), "uvicorn": dict(own)},
        "root": {"handlers": ["default"], "level": "WARNING"},
    }
