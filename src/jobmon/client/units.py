"""Units of memory and time, as scripts convert them."""

from __future__ import annotations

from jobmon.core.resources import BYTES_OF_UNIT, parse_memory

__all__ = ["MemUnit", "TimeUnit"]


class MemUnit:
    """Amounts of memory."""

    @staticmethod
    def convert(input: str, to: str = "M") -> int:
        """A text such as ``8G``, ``500mib`` or ``12`` (which means M) in another unit, rounded to the nearest.

        Units are binary and exact: 1K is 1024B, 1M is 1024K, and so on.

        Raises:
            InvalidMemoryFormat: it is not a whole number with at most a unit.
            InvalidMemoryUnit: there is no such unit.
        """
        amount, unit = parse_memory(str(input))
        _, target = parse_memory(f"0{to}")
        size, of = amount * BYTES_OF_UNIT[unit], BYTES_OF_UNIT[target]
        return (2 * size + of) // (2 * of)  # in whole numbers: floats would lose bytes of terabytes


class TimeUnit:
    """A length of time, given in seconds, minutes or hours (added up)."""

    def __init__(self, sec: float = 0, min: float = 0.0, hour: float = 0.0) -> None:
        self._seconds = sec + self.min_to_sec(min) + self.hour_to_sec(hour)

    @property
    def seconds(self) -> int:
        """In seconds."""
        return round(self._seconds)

    @property
    def minutes(self) -> float:
        """In minutes."""
        return self.sec_to_min(self._seconds)

    @property
    def hours(self) -> float:
        """In hours."""
        return self.sec_to_hour(self._seconds)

    @property
    def readable(self) -> str:
        """As ``2h30m05s``."""
        hours, rest = divmod(self.seconds, 3600)
        return f"{hours}h{rest // 60:02d}m{rest % 60:02d}s"

    @staticmethod
    def min_to_sec(minutes: float) -> int:
        """Seconds of minutes."""
        return round(minutes * 60)

    @staticmethod
    def hour_to_sec(hours: float) -> int:
        """Seconds of hours."""
        return round(hours * 3600)

    @staticmethod
    def hour_to_min(hours: float) -> float:
        """Minutes of hours."""
        return hours * 60

    @staticmethod
    def min_to_hour(minutes: float) -> float:
        """Hours of minutes."""
        return minutes / 60

    @staticmethod
    def sec_to_hour(seconds: float) -> float:
        """Hours of seconds."""
        return seconds / 3600

    @staticmethod
    def sec_to_min(seconds: float) -> float:
        """Minutes of seconds."""
        return seconds / 60
