"""Arrays that are larger than the memory, of HDF5 and of NumPy's file format: rows are read one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

import numpy as np

from hesspot.errors import UserError

#: Bytes up to which an array is read as a whole.
WHOLE = 2**24
#: Bytes of a larger array that are read together.
BLOCK = 2**22

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Blocks:
    """The rows of an array (m, …), of HDF5 or `Rows`, which are read in blocks; quickest in their order."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._size = max(1, BLOCK // max(1, array.dtype.itemsize * int(np.prod(array.shape[1:]))))
        self._first, self._block = 0, np.asarray(array[0:0])

    def __len__(self) -> int:
        return len(self._array)

    def rows(self, first: int, last: int) -> np.ndarray:
        """(last − first, …)"""
        start = first - self._first
        if start < 0 or last > self._first + len(self._block):
            self._block = np.asarray(self._array[first : max(last, first + self._size)])
            self._first, start = first, 0
        return self._block[start : start + last - first]

    def __getitem__(self, row: int) -> Any:
        return self.rows(row, row + 1)[0]


class Rows:
    """An array (m, …) in a stream, of which rows or slices of rows are taken, quickest in their order."""

    def __init__(
        self, open_stream: Callable[[], IO[bytes]], shape: tuple[int, ...], dtype: np.dtype, start: int, place: str
    ) -> None:
        self._open, self._start, self._place = open_stream, start, place
        self._stream: IO[bytes] | None = None
        self._next = 0
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        first, last = (rows, rows + 1) if isinstance(rows, int) else rows.indices(len(self))[:2]
        size = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        if self._stream is None or first < self._next:
            if self._stream is not None:
                self._stream.close()
            self._stream, self._next = self._open(), 0
            self._stream.seek(self._start)
        self._stream.seek((first - self._next) * size, 1)
        data = self._stream.read((last - first) * size)
        self._next = last
        if len(data) != (last - first) * size:
            raise UserError(f"{self._place} is truncated: write or fetch it again")
        values = np.frombuffer(data, self.dtype).reshape(last - first, *self.shape[1:])
        return values[0] if isinstance(rows, int) else values

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[0 : len(self)] if dtype is None else self[0 : len(self)].astype(dtype)


def read_rows(open_stream: Callable[[], IO[bytes]], place: str) -> np.ndarray | Rows:
    """A small array of the file `place`, or the rows of a large one; ValueError or EOFError for no array of numbers."""
    with open_stream() as stream:
        header = _HEADERS.get(np.lib.format.read_magic(stream))
        if header is not None:
            shape, fortran, dtype = header(stream)
            size = dtype.itemsize * int(np.prod(shape))
            if len(shape) > 0 and size > WHOLE and not fortran and not dtype.hasobject:
                return Rows(open_stream, shape, dtype, stream.tell(), place)
    with open_stream() as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
