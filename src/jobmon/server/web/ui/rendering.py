"""Templates, and the words they have for numbers, times and states."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobmon.core import __version__, states
from jobmon.server.web.ui.drawing.bars import by_label, progress_bar

_GIB = 1 << 30
_DASH = "–"


@lru_cache(1)
def environment() -> Environment:
    """The templates; whatever is put into one is escaped."""
    templates = Environment(
        loader=PackageLoader("jobmon.server.web.ui", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(version=__version__, states=states, static_version=static_version())
    templates.filters.update(
        number=number,
        duration=duration,
        memory=memory,
        percent=percent,
        moment=moment,
        state=state,
        progress_bar=progress_bar,
        labels=by_label,
    )
    return templates


@lru_cache(1)
def static_version() -> str:
    """Changes when a file under ``static`` does, so that browsers may keep them."""
    digest = hashlib.sha256(states_css().encode())
    for folder in ("static", "static/vendor"):
        for file in sorted(files("jobmon.server.web.ui").joinpath(folder).iterdir(), key=lambda f: f.name):
            if file.is_file():
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def render(template: str, **values: Any) -> str:
    """HTML of a template."""
    return environment().get_template(template).render(**values)


# -- words ---------------------------------------------------------------------------------------------
def number(value: float | None) -> str:
    """``12 345``, or three significant digits where it is no whole number; none: a dash."""
    if value is None:
        return _DASH
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{round(value):,}".replace(",", "\u202f")
    return f"{value:.3g}"


def percent(part: float, whole: float) -> str:
    """Share of a whole; never 100 % or 0 % of what is not quite all or nothing."""
    if whole <= 0:
        return _DASH
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1\u202f%"
    return f"{math.floor(share)}\u202f%"


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units: ``2 h 5 min``."""
    if seconds is None:
        return _DASH
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {name}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def memory(size: float | None) -> str:
    """Bytes in GiB or MiB."""
    if size is None:
        return _DASH
    if size >= _GIB:
        return f"{size / _GIB:.3g} GiB"
    return f"{size / (1 << 20):.3g} MiB"


def moment(time: datetime | str | None, style: str = "long") -> Markup:
    """A time (naive UTC) as an element that our script shows in the viewer's zone; without it in UTC.

    Args:
        time: the time, also as ISO text; none or empty: a dash.
        style: ``long``: date and time; ``ago``: how long ago, the time on hover.
    """
    if not time:
        return Markup(_DASH)
    then = datetime.fromisoformat(time) if isinstance(time, str) else time
    then = then.replace(tzinfo=UTC) if then.tzinfo is None else then.astimezone(UTC)
    iso = then.strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = then.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" data-style="{}">{}</time>').format(iso, style, shown)


def state(status: StrEnum) -> Markup:
    """A status as a coloured mark with its name, and what it means on hover."""
    colour = states.colour_name(status)
    means = states.DESCRIPTIONS[type(status)][status.value]
    return Markup('<span class="state c-{}" title="{}">{}</span>').format(
        colour, means, status.name.replace("_", " ").lower()
    )


def states_css() -> str:
    """Colours of the states as CSS variables and classes, from the states table."""

    def variables(theme: int) -> str:
        return "".join(f"--c-{name}:{pair[theme]};" for name, pair in states.COLOURS.items())

    classes = "".join(
        f".c-{name}{{--c:var(--c-{name})}}rect.c-{name},path.c-{name},circle.c-{name},ellipse.c-{name}"
        f"{{fill:var(--c-{name})}}"
        for name in states.COLOURS
    )
    dark = f"{{{variables(1)}}}"
    return (
        f":root{{{variables(0)}}}"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){dark}}}"
        f":root[data-theme=dark]{dark}{classes}"
    )


Values = Mapping[str, Any]
