"""Makes the clocks of a Python process, and of those it starts, wrong by ``WRONG_CLOCK_SECONDS``.

For processes that have this folder in ``PYTHONPATH``. All clocks are wrong but the one that nobody can set.
"""

import ctypes
import datetime as dt
import gc
import os
import time

OFFSET_SECONDS = float(os.environ["WRONG_CLOCK_SECONDS"])
_time, _time_ns, _now = time.time, time.time_ns, dt.datetime.now


def _wrong_now(_: type, tz: "dt.tzinfo | None" = None) -> dt.datetime:
    return _now(tz) + dt.timedelta(seconds=OFFSET_SECONDS)


def _wrong_utcnow(_: type) -> dt.datetime:
    return _wrong_now(_, dt.UTC).replace(tzinfo=None)


time.time = lambda: _time() + OFFSET_SECONDS
time.time_ns = lambda: _time_ns() + int(OFFSET_SECONDS * 1e9)
# A class of our own in its place would not be what libraries take for a time.
_members = gc.get_referents(dt.datetime.__dict__)[0]
_members.update(now=classmethod(_wrong_now), utcnow=classmethod(_wrong_utcnow))
ctypes.pythonapi.PyType_Modified(ctypes.py_object(dt.datetime))
