"""Identity of nodes, tasks, workflows and graphs: unambiguous 256-bit hashes.

Every part is length-prefixed (a netstring), so that no two different inputs meet in one encoding: ``a=1,b=23`` and
``a=12,b=3`` differ, and so do an absent value and an empty one. Hashes are written as 64 lower-case hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256


def hash_parts(parts: Iterable[str]) -> str:
    """SHA-256 over the length-prefixed UTF-8 encodings of ``parts``."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return sha256(b"".join([b"%d:%b," % (len(part), part) for part in encoded])).hexdigest()


def hash_args(args: Mapping[str, str]) -> str:
    """Hash of named arguments, whatever their order."""
    return hash_parts([part for item in sorted(args.items()) for part in item])
