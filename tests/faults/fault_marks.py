"""How tests of faults take their databases from the list of faults."""

from __future__ import annotations

from typing import Any

import pytest
from fault_list import BY_NAME, Fault

from databases import Backend, parameters


def under(name: str) -> Any:
    """Parameters of a test of this fault: ``fault`` and the ``backend`` of each of its databases."""
    fault = BY_NAME[name]
    both = [
        pytest.param(fault, *each.values, marks=each.marks, id=each.id)
        for each in parameters([Backend(each) for each in fault.databases])
    ]
    return pytest.mark.parametrize(("fault", "backend"), both)


__all__ = ["Fault", "under"]
