"""One task per country: fit the linear trend of life expectancy over the years and write it to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import correlation, linear_regression

from life_data import key, records, write_json


def main(country_key: str, data: Path, results: Path) -> None:
    name, continent, rows = records(data, country_key)
    years = [row.year for row in rows]
    life_expectancy = [row.life_expectancy for row in rows]
    slope, intercept = linear_regression(years, life_expectancy)
    write_json(
        results / "countries" / f"{country_key}.json",
        {
            "country": name,
            "continent": continent,
            "years": years,
            "life_expectancy": life_expectancy,
            "population": [row.population for row in rows],
            "years_gained_per_decade": 10 * slope,
            "fitted_first": intercept + slope * years[0],
            "fitted_last": intercept + slope * years[-1],
            "r_squared": correlation(years, life_expectancy) ** 2,
        },
    )
    print(f"{name}: {10 * slope:+.2f} years of life expectancy per decade")


if __name__ == "__main__":
    main(key(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
