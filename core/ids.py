"""Public ids: TypeIDs, a prefix that names the table and a UUIDv7 that sorts by creation.

`inst_01m803p6fsep5t56hn7y1dmqyp` names an instance. The database holds the UUID, the wire the TypeID.
The bare family's `RES_` + 10 digits is a bijection of the inventory row's key, so it needs no column and
gives no count away.
"""

import re
import time
from datetime import datetime
from uuid import UUID

import uuid_utils

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = re.compile(f"[0-7][{_ALPHABET}]{{25}}")
_PYTHONS = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # how `int` writes base 32
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]  # two digits are ten bits
_SHIFTS = range(120, -1, -10)

_MODULUS = 10**10
_FACTOR = 7_368_787_901  # odd and no multiple of 5, so it has an inverse modulo 10^10
_INVERSE = pow(_FACTOR, -1, _MODULUS)
_OFFSET = 1_234_567_890 - _FACTOR


def new() -> UUID:
    """A fresh UUIDv7: ids made later sort later."""
    return UUID(int=uuid_utils.uuid7().int)


def earliest(at: datetime) -> UUID:
    """Between every id made before this moment (to the millisecond) and every one made then or later."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def age(key: UUID) -> float:
    """Seconds since a UUIDv7 was made. One that somebody made up may say anything, also below 0."""
    return time.time() - (key.int >> 80) / 1000


def encode(prefix: str, key: UUID) -> str:
    """The public id. By hand, as each row of each list has one: the `typeid` package takes three times as long."""
    number = key.int
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])}"


def decode(prefix: str, text: str) -> UUID:
    """The UUID in a public id. Raises ValueError for another prefix or anything malformed."""
    found, _, digits = text.rpartition("_")
    if found != prefix or not _DIGITS.fullmatch(digits):
        raise ValueError(f"not a {prefix}_… id")
    return UUID(int=int(digits.translate(_PYTHONS), 32))


def encode_number(prefix: str, key: int) -> str:
    """`RES_0123456789` from an integer key ≥ 1."""
    return f"{prefix}_{(key * _FACTOR + _OFFSET) % _MODULUS:010d}"


def decode_number(prefix: str, text: str) -> int:
    """The inverse of `encode_number`. Raises ValueError for anything malformed."""
    digits = text.removeprefix(f"{prefix}_")
    if digits == text or len(digits) != 10 or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"not a {prefix}_ id")
    return (int(digits) - _OFFSET) * _INVERSE % _MODULUS
