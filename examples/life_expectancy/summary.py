"""The last task: one table of all countries and one figure of them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from life_data import countries, key, read_json
from matplotlib.axes import Axes

mpl.use("Agg")  # draws into files and needs no screen

COLOURS = {
    "Africa": "#c4622d",
    "Americas": "#3b7a57",
    "Asia": "#a5294f",
    "Europe": "#2f6db5",
    "Oceania": "#7a4fa3",
}
INK, GREY, PALE = "#26292e", "#6b7178", "#c9cdd2"
EXTREMES = 12
SOURCE = "Data: Free data from Gapminder (gapminder.org), CC BY 3.0, in the excerpt by Jennifer Bryan."
COLUMNS = ("rank", "country", "continent", "life_expectancy_1952", "life_expectancy_2007")


def write_table(path: Path, ranked: list[dict[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "years_gained_per_decade", "r_squared"])
        for rank, row in enumerate(ranked, start=1):
            first, last = row["life_expectancy"][0], row["life_expectancy"][-1]
            gain, fit = f"{row['years_gained_per_decade']:.3f}", f"{row['r_squared']:.4f}"
            writer.writerow((rank, row["country"], row["continent"], first, last, gain, fit))


def draw_continent(axes: Axes, continent: dict[str, Any], members: list[dict[str, Any]]) -> None:
    colour = COLOURS[continent["continent"]]
    for member in members:
        axes.plot(member["years"], member["life_expectancy"], color=PALE, linewidth=0.7, zorder=1)
    axes.plot(continent["years"], continent["life_expectancy"], color=colour, linewidth=2.6, zorder=3)
    for i, side in ((0, "left"), (-1, "right")):
        axes.annotate(
            f"{continent['life_expectancy'][i]:.0f}",
            (continent["years"][i], continent["life_expectancy"][i]),
            xytext=(-5 if side == "left" else 5, 0),
            textcoords="offset points",
            ha="right" if side == "left" else "left",
            va="center",
            color=colour,
            fontweight="bold",
        )
    axes.set_title(f"{continent['continent']}", color=colour, fontweight="bold", loc="left", fontsize=12)
    axes.set_title(f"{len(members)} countries", color=GREY, loc="right", fontsize=8.5)
    axes.set_xlim(1944, 2015)
    axes.set_ylim(20, 86)
    axes.set_xticks([1952, 1980, 2007])
    axes.set_yticks(range(30, 90, 10))
    axes.grid(axis="y", color="#eceef0", linewidth=0.8, zorder=0)
    axes.tick_params(length=0, colors=GREY)


def draw_ranking(axes: Axes, rows: list[dict[str, Any]], title: str, limits: tuple[float, float]) -> None:
    for i, row in enumerate(rows):
        gain, colour = row["years_gained_per_decade"], COLOURS[row["continent"]]
        axes.plot([0, gain], [i, i], color=colour, linewidth=1.6, alpha=0.45, zorder=2)
        axes.plot(gain, i, "o", color=colour, markersize=6, zorder=3)
        axes.annotate(
            f"{gain:+.1f}".replace("-", "−"),
            (gain, i),
            xytext=(7 if gain >= 0 else -7, 0),
            textcoords="offset points",
            ha="left" if gain >= 0 else "right",
            va="center",
            color=INK,
            fontsize=8.5,
        )
    axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(rows)), [row["country"] for row in rows], color=INK, fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*limits)
    axes.set_title(title, loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.set_xlabel(
        "years gained per decade (slope of the linear trend, 1952–2007)", color=GREY, fontsize=8.5
    )
    axes.tick_params(length=0, colors=GREY)
    axes.tick_params(axis="y", labelcolor=INK)


def draw_figure(path: Path, continents: list[dict[str, Any]], ranked: list[dict[str, Any]]) -> None:
    plt.rcParams.update({"font.size": 9.5, "axes.edgecolor": PALE, "axes.spines.top": False})
    plt.rcParams.update({"axes.spines.right": False, "axes.spines.left": False})
    figure = plt.figure(figsize=(14, 9.6), facecolor="white")
    upper = figure.add_gridspec(
        1, len(continents), left=0.055, right=0.975, top=0.845, bottom=0.5, wspace=0.08
    )
    lower = figure.add_gridspec(1, 2, left=0.125, right=0.975, top=0.415, bottom=0.095, wspace=0.3)

    first = None
    for i, continent in enumerate(continents):
        axes = figure.add_subplot(upper[0, i], sharey=first)
        draw_continent(axes, continent, [row for row in ranked if row["continent"] == continent["continent"]])
        if first is None:
            first = axes
            axes.set_ylabel("life expectancy at birth, years", color=GREY)
        else:
            axes.tick_params(labelleft=False)

    gains = [row["years_gained_per_decade"] for row in ranked]
    limits = (min(0.0, *gains) - 1.1, max(gains) + 0.6)
    fastest, slowest = ranked[:EXTREMES], ranked[-EXTREMES:]
    draw_ranking(figure.add_subplot(lower[0, 0]), fastest, "Where life expectancy rose fastest", limits)
    draw_ranking(figure.add_subplot(lower[0, 1]), slowest, "Where it rose least, or fell", limits)

    figure.text(0.035, 0.945, "Half a century of longer lives", fontsize=19, fontweight="bold", color=INK)
    subtitle = f"Life expectancy of {len(ranked)} countries (grey) and of continents, weighted by population"
    figure.text(0.035, 0.91, subtitle, fontsize=11, color=GREY)
    figure.text(0.035, 0.022, SOURCE, fontsize=8.5, color=GREY)
    figure.savefig(path, dpi=150)


def main(data: Path, results: Path) -> None:
    continent_of = countries(data)
    rows = [read_json(results / "countries" / f"{key(country)}.json") for country in continent_of]
    names = sorted(set(continent_of.values()))
    continents = [read_json(results / "continents" / f"{key(name)}.json") for name in names]
    ranked = sorted(rows, key=lambda row: -row["years_gained_per_decade"])
    write_table(results / "life_expectancy.csv", ranked)
    draw_figure(results / "life_expectancy.png", continents, ranked)
    print(f"{len(ranked)} countries, {len(continents)} continents")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
