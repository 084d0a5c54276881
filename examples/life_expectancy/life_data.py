"""Reading the country data and writing results: what the three kinds of task share."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any, NamedTuple


class Record(NamedTuple):
    """One country in one year; life expectancy in years."""

    year: int
    life_expectancy: float
    population: int


def key(name: str) -> str:
    """Name of a country or continent as commands and file names have it: ``cote_d_ivoire``."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def countries(data: Path) -> dict[str, str]:
    """The continent of every country, in the order of the file."""
    with open(data, encoding="utf-8", newline="") as file:
        return {row["country"]: row["continent"] for row in csv.DictReader(file)}


def records(data: Path, country_key: str) -> tuple[str, str, list[Record]]:
    """Name, continent and yearly records of one country.

    Raises:
        ValueError: the country is unknown or one of its values is not a number.
    """
    found: list[Record] = []
    name = continent = ""
    with open(data, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            if key(row["country"]) != country_key:
                continue
            name, continent = row["country"], row["continent"]
            try:
                found.append(Record(int(row["year"]), float(row["lifeExp"]), int(row["pop"])))
            except ValueError:
                raise ValueError(
                    f"{data}, line {reader.line_num}: {name}, {row['year']}: no number where one is due: "
                    f"lifeExp={row['lifeExp']!r}, pop={row['pop']!r}"
                ) from None
    if not found:
        raise ValueError(f"{data} has no country {country_key!r}")
    return name, continent, found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a result file whole or not at all, so that a task killed half-way leaves nothing to trip over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def read_json(path: Path) -> dict[str, Any]:
    """A result file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
