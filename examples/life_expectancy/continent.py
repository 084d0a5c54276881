"""One task per continent: put its countries together, each counting by its population."""

from __future__ import annotations

import sys
from pathlib import Path

from life_data import countries, key, read_json, write_json


def main(continent_key: str, data: Path, results: Path) -> None:
    continent_of = countries(data)
    members = [
        read_json(results / "countries" / f"{key(country)}.json")
        for country, continent in continent_of.items()
        if key(continent) == continent_key
    ]
    if not members:
        raise ValueError(f"{data} has no continent {continent_key!r}")
    years = members[0]["years"]
    mean = []
    for i in range(len(years)):
        population = sum(member["population"][i] for member in members)
        lived = sum(member["population"][i] * member["life_expectancy"][i] for member in members)
        mean.append(lived / population)
    name = members[0]["continent"]
    write_json(
        results / "continents" / f"{continent_key}.json",
        {"continent": name, "countries": len(members), "years": years, "life_expectancy": mean},
    )
    print(f"{name}: {mean[0]:.1f} years in {years[0]}, {mean[-1]:.1f} years in {years[-1]}")


if __name__ == "__main__":
    main(key(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
