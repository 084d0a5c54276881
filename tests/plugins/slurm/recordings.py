"""Reads what a real Slurm printed."""

from __future__ import annotations

from pathlib import Path

RECORDED = Path(__file__).parent / "recorded" / "22.05"


def recorded(name: str) -> str:
    """What a command printed, behind the line that names it."""
    return (RECORDED / name).read_text().split("\n", 1)[1]
