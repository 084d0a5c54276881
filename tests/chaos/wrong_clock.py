"""``python wrong_clock.py SECONDS SCRIPT ARGUMENT…``: run a script with clocks that are wrong by so much.

Every clock of the process is, but the one that nobody can set.
"""

from __future__ import annotations

import datetime as dt
import os
import runpy
import sys
import time

_real_time, _real_time_ns, _RealDatetime = time.time, time.time_ns, dt.datetime
_offset = float(sys.argv[1])


class _WrongDatetime(_RealDatetime):
    """A clock that is wrong."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
        """A time that is not now."""
        return _RealDatetime.now(tz) + dt.timedelta(seconds=_offset)

    @classmethod
    def utcnow(cls) -> dt.datetime:
        """The same."""
        return _RealDatetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=_offset)


if __name__ == "__main__":
    if _offset:
        time.time = lambda: _real_time() + _offset
        time.time_ns = lambda: _real_time_ns() + int(_offset * 1e9)
        dt.datetime = _WrongDatetime  # type: ignore[misc]
    sys.argv = sys.argv[2:]
    sys.path[0] = os.path.dirname(os.path.realpath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
