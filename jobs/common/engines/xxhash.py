"""Spark's `xxhash64` over columns, without Spark, so that a close has the same content hash by whichever engine.

XXH64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md) as Spark 4.1 folds it over columns: each value is hashed with the
hash so far as its seed, a null leaves it as it is, arrays and structs are folded element by element.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

Words = NDArray[np.uint64]
Rows = slice | NDArray[np.intp]

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(number)
    for number in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)
_SEED = np.uint64(42)
_STRIPE, _WORD, _HALF = 32, 8, 4
#: A value in the place of null, where the type has one that Polars takes.
_FILLERS: dict[type[DataType], str | int] = {StringType: "", LongType: 0, IntegerType: 0, DecimalType: 0}
_FEW = 4


def folded(column: pl.Series, kind: DataType, seeds: Words) -> Words:
    """The hashes after one more column: `seeds` and the result are (chains, rows). TypeError for other types."""
    nulls = column.null_count()
    if nulls == 0:
        return _fold(column, kind, seeds)
    if nulls == len(column):
        return seeds
    there = column.is_not_null()
    if type(kind) in _FILLERS and nulls * _FEW < len(column):
        # Hashing a few rows in vain costs less than taking the others out and putting them back.
        hashes = _fold(column.fill_null(_FILLERS[type(kind)]), kind, seeds)
        rows = np.flatnonzero(~there.to_numpy())
        hashes[:, rows] = seeds[:, rows]
        return hashes
    hashes, rows = seeds.copy(), np.flatnonzero(there.to_numpy())
    hashes[:, rows] = _fold(column.filter(there), kind, seeds[:, rows])
    return hashes


def started(numbers: tuple[int, ...], rows: int) -> Words:
    """The hashes of an integer literal alone, one chain for each of them."""
    literal = np.array(numbers, dtype=np.uint64)[:, None]
    return np.repeat(_int(literal, np.full((len(numbers), 1), _SEED)), rows, axis=1)


def _fold(column: pl.Series, kind: DataType, seeds: Words) -> Words:
    """As `folded`, of a column without nulls."""
    match kind:
        case BooleanType():
            return _int(column.cast(pl.UInt64).to_numpy(), seeds)
        case IntegerType() | DateType():
            return _int(column.to_physical().to_numpy().astype(np.uint32).astype(np.uint64), seeds)
        case LongType() | TimestampType():
            return _long(column.to_physical().to_numpy().view(np.uint64), seeds)
        case StringType():
            return _bytes(column.str.join("").item().encode(), column.str.len_bytes().to_numpy(), seeds)
        case DecimalType():
            return _decimal(column, kind, seeds)
        case StructType():
            for field in kind.fields:
                seeds = folded(column.struct.field(field.name), field.dataType, seeds)
            return seeds
        case ArrayType():
            return _array(column, kind, seeds)
    raise TypeError(f"no hash of {kind.simpleString()}")


def _decimal(column: pl.Series, kind: DecimalType, seeds: Words) -> Words:
    unscaled = column.to_physical()
    small = unscaled.cast(pl.Int64, strict=False)
    if kind.precision <= 18:
        return _long(small.to_numpy().view(np.uint64), seeds)
    if small.null_count() == 0:
        return _big_endian(small.to_numpy(), seeds)
    hashes = seeds.copy()
    fits = small.is_not_null()
    rows = fits.arg_true().to_numpy()
    if len(rows):
        hashes[:, rows] = _big_endian(small.filter(fits).to_numpy(), seeds[:, rows])
    rows = (~fits).arg_true().to_numpy()
    texts = [_minimal(int(number)) for number in unscaled.filter(~fits).to_list()]
    hashes[:, rows] = _bytes(b"".join(texts), np.array([len(text) for text in texts]), seeds[:, rows])
    return hashes


def _minimal(number: int) -> bytes:
    """Java's `BigInteger.toByteArray`: big-endian two's complement of as few bytes as hold the number and its sign."""
    magnitude = number if number >= 0 else ~number
    return number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)


def _big_endian(numbers: NDArray[np.int64], seeds: Words) -> Words:
    """The same bytes as `_minimal`, of numbers of 64 bits: their first bytes in memory, the order of bytes turned."""
    magnitude = np.where(numbers < 0, ~numbers, numbers)
    greatest = int(magnitude.max(initial=0))
    lengths = np.ones(len(numbers), dtype=np.uint8)
    for length in range(1, greatest.bit_length() // 8 + 1):
        lengths += magnitude >= (1 << (8 * length - 1))
    words = (numbers.view(np.uint64) << (np.uint64(64) - np.uint64(8) * lengths)).byteswap()
    return _by_length(lengths, seeds, lambda rows: iter([words[rows]]))


def _bytes(data: bytes, lengths: NDArray[Any], seeds: Words) -> Words:
    """`data`: texts of these lengths in bytes, one after another."""
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    padded = data + bytes(_WORD)
    # The eight bytes from each byte on; what lies behind a text's end is masked.
    from_each = np.ndarray((len(data) + 1,), dtype="<u8", buffer=padded, strides=(1,))

    def words(rows: Rows) -> Iterator[Words]:
        first = starts[rows]
        return (from_each[np.minimum(first + place, len(data))] for place in count(0, _WORD))

    return _by_length(lengths, seeds, words)


def _by_length(lengths: NDArray[Any], seeds: Words, words: Callable[[Rows], Iterator[Words]]) -> Words:
    """The hashes of texts of different lengths, those of one length at a time."""
    counts = np.bincount(lengths)
    found = np.flatnonzero(counts)
    if len(found) == 1:
        return _of_words(words(slice(None)), int(found[0]), seeds)
    hashes = np.empty_like(seeds)
    for length in found.tolist():
        rows = np.flatnonzero(lengths == length)
        hashes[:, rows] = _of_words(words(rows), length, seeds[:, rows])
    return hashes


def _of_words(words: Iterator[Words], length: int, seeds: Words) -> Words:
    hashes = _stripes(words, length // _STRIPE, seeds) if length >= _STRIPE else seeds + _P5
    hashes += np.uint64(length)
    for _ in range(length % _STRIPE // _WORD):
        hashes ^= _mixed(next(words))
        _turn(hashes, 27, _P1, _P4)
    rest = length % _WORD
    if rest:
        word = next(words)
        if rest >= _HALF:
            hashes ^= (word & np.uint64(0xFFFFFFFF)) * _P1
            _turn(hashes, 23, _P2, _P3)
        for place in range(rest & _HALF, rest):
            hashes ^= ((word >> np.uint64(8 * place)) & np.uint64(0xFF)) * _P5
            _turn(hashes, 11, _P1)
    return _ended(hashes)


def _stripes(words: Iterator[Words], count: int, seeds: Words) -> Words:
    lanes = [seeds + _P1 + _P2, seeds + _P2, seeds.copy(), seeds - _P1]
    for _ in range(count):
        for lane in lanes:
            lane += next(words) * _P2
            _turn(lane, 31, _P1)
    hashes = _turned(lanes[0], 1) + _turned(lanes[1], 7) + _turned(lanes[2], 12) + _turned(lanes[3], 18)
    for lane in lanes:
        hashes ^= _mixed(lane)
        hashes *= _P1
        hashes += _P4
    return hashes


def _int(numbers: Words, seeds: Words) -> Words:
    """`numbers`: 32 bits each."""
    hashes = seeds + (_P5 + np.uint64(_HALF))
    hashes ^= numbers * _P1
    _turn(hashes, 23, _P2, _P3)
    return _ended(hashes)


def _long(numbers: Words, seeds: Words) -> Words:
    hashes = seeds + (_P5 + np.uint64(_WORD))
    hashes ^= _mixed(numbers)
    _turn(hashes, 27, _P1, _P4)
    return _ended(hashes)


def _mixed(words: Words) -> Words:
    mixed = words * _P2
    _turn(mixed, 31, _P1)
    return mixed


def _turned(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _turn(words: Words, bits: int, factor: np.uint64, addend: np.uint64 | None = None) -> None:
    """Turn the words, multiply them and add to them, in place: new arrays cost more than the work."""
    high = words << np.uint64(bits)
    words >>= np.uint64(64 - bits)
    words |= high
    words *= factor
    if addend is not None:
        words += addend


def _ended(hashes: Words) -> Words:
    hashes ^= hashes >> np.uint64(33)
    hashes *= _P2
    hashes ^= hashes >> np.uint64(29)
    hashes *= _P3
    hashes ^= hashes >> np.uint64(32)
    return hashes


def _array(column: pl.Series, kind: ArrayType, seeds: Words) -> Words:
    lengths = column.list.len()
    hashes = seeds.copy()
    longest: Any = lengths.max()
    for place in range(longest or 0):
        longer = lengths > place
        rows = longer.arg_true().to_numpy()
        hashes[:, rows] = folded(column.filter(longer).list.get(place), kind.elementType, hashes[:, rows])
    return hashes
