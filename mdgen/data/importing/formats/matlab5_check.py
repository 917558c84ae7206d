"""Whether a MATLAB file of version 5 to 7 is sound (MathWorks, MAT-File Format, 2024).

SciPy's reader takes the types and sizes in a file on trust, in C: a damaged one can end the process or ask for all its
memory. Here every element is looked at first, without its values.
"""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from mdgen.data.importing.formats.base import MAX_WHOLE_BYTES

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED, _INT32, _UINT32 = 14, 15, 5, 6
#: Bytes of one value of each type of number or text.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
_TYPES = {*_SIZES, _MATRIX, _COMPRESSED}
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_IS_COMPLEX = 1 << 11
_MAX_DEPTH = 64
_MAX_BLANKS = 4096

Element = tuple[int, memoryview]


def check_matlab5(file: Path) -> None:
    """Raise `ValueError` where elements are cut short, of unknown types, or of other sizes than their shapes say."""
    with open(file, "rb") as stream:
        head = stream.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES or head[126:128] not in (b"IM", b"MI"):
            return  # version 4, or not MATLAB's at all: read by Python code
        order = "<" if head[126:128] == b"IM" else ">"
        _check_variables(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)), order)


def _check_variables(content: memoryview, order: str) -> None:
    for kind, data in _elements(content[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            inside = memoryview(zlib.decompressobj().decompress(data, MAX_WHOLE_BYTES))
            variables = list(_elements(inside, order))
        else:
            variables = [(kind, data)]
        for inner, matrix in variables:
            _require(inner == _MATRIX, f"a variable of type {inner}")
            _check_matrix(matrix, order, 0)


def _elements(content: memoryview, order: str) -> Iterator[Element]:
    """(type, data) of each element one after the other."""
    place = 0
    while place < len(content):
        _require(place + 8 <= len(content), "an element that is cut short")
        kind, size = struct.unpack_from(order + "II", content, place)
        start, end = place + 8, place + 8 + size
        if kind >> 16:  # small: size and type share four bytes, data are the other four
            kind, size = kind & 0xFFFF, kind >> 16
            _require(size <= 4, "a small element that is too long")
            start, end = place + 4, place + 4 + size
        _require(kind in _TYPES, f"an element of type {kind}")
        _require(end <= len(content), "an element that is cut short")
        yield kind, content[start:end]
        place = end if kind == _COMPRESSED else end + -end % 8


def _check_matrix(content: memoryview, order: str, depth: int) -> None:
    _require(depth <= _MAX_DEPTH, "too many structs inside each other")
    parts = list(_elements(content, order))
    if not parts:
        return
    flags_type, flags = parts.pop(0)
    _require(flags_type == _UINT32 and len(flags) == 8, "an array without flags")
    word = struct.unpack_from(order + "I", flags)[0]
    array_class, planes = word & 0xFF, 2 if word & _IS_COMPLEX else 1
    _require(1 <= array_class <= _OPAQUE, f"an array of class {array_class}")
    children = [data for kind, data in parts if kind == _MATRIX]
    if array_class != _OPAQUE:
        _require(len(parts) >= 2 and parts[0][0] in (_INT32, _UINT32), "an array without a shape")
        shape = [entry for (entry,) in struct.iter_unpack(order + "i", parts[0][1])]
        _require(len(shape) >= 2 and min(shape) >= 0, f"an array of shape {shape}")
        _check_content(array_class, planes, math.prod(shape), parts[2:], len(children), order)
    for child in children:
        _check_matrix(child, order, depth + 1)


def _check_content(array_class: int, planes: int, count: int, parts: list[Element], children: int, order: str) -> None:
    """Whether `parts`, which follow flags, shape and name, are as many and as long as `count` entries take.

    planes: 2 for complex values.
    """
    if array_class in (_CELL, _STRUCT, _OBJECT):
        named = {_CELL: 0, _STRUCT: 2, _OBJECT: 3}[array_class]  # parts before the entries: the names of fields
        fields = _field_count(parts[named - 2 : named], order) if named else 1
        _require(children == len(parts) - named == count * fields, f"{count} cells or structs that are not there")
    elif array_class != _FUNCTION:
        wanted = planes + 2 if array_class == _SPARSE else planes
        _require(children == 0 and len(parts) == wanted, f"an array of {len(parts)} parts for {wanted}")
        sizes = [len(data) // _SIZES[kind] for kind, data in parts]
        if array_class == _CHAR:  # coded text may be longer, and blanks may be left out
            _require(count <= max(_MAX_BLANKS, *sizes, 0), f"{count} letters that are not there")
        elif array_class != _SPARSE:
            _require(sizes == [count] * planes, f"{count} values that are not there")


def _field_count(parts: list[Element], order: str) -> int:
    """From the length of a name, and all names."""
    _require(len(parts) == 2 and len(parts[0][1]) == 4, "a struct without names of fields")
    (each,) = struct.unpack(order + "i", parts[0][1])
    _require(each > 0 and len(parts[1][1]) % each == 0, "a struct with broken names of fields")
    return len(parts[1][1]) // each


def _require(sound: bool, found: str) -> None:
    if not sound:
        raise ValueError(f"damaged: it has {found}")
