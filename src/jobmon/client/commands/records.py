"""Rows for people and for programs: data frames where pandas is there, lists of dictionaries, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

Record = dict[str, Any]


def to_json(value: object) -> str:
    """JSON text for programs, readable for people."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def to_csv(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """CSV text (RFC 4180, a header line first) of some columns; ``None`` is left empty."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def to_frame(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Any:
    """A data frame where pandas is installed, else a list of dictionaries."""
    try:
        import pandas as pd
    except ImportError:
        return [dict(record) for record in records]
    return pd.DataFrame(list(records), columns=list(columns))


def local_time(iso: str) -> str:
    """A time of the server (ISO text, UTC) as a clock on the wall here shows it."""
    if not iso:
        return ""
    moment = datetime.fromisoformat(iso).replace(tzinfo=UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def share(count: int, total: int) -> str:
    """A count with its share of the total: ``3 (30.0%)``."""
    return f"{count} ({100 * count / total if total else 0.0:.1f}%)"
