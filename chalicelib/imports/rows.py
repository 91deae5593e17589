"""The rows of a text file, made such that every reader reads them alike: whole rows of UTF-8, each ended by LF.

Nearly every row of nearly every file is taken as it stands, some megabytes at a time. Those that are not (other
quotes than RFC 4180 has, another number of cells, bytes that are no UTF-8, too large ones) are looked at one by one.
"""

import csv
import io
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from chalicelib.base import sizes
from chalicelib.imports.header import Broken

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 4 << 20
# Where a quote or a line has not ended after so much, it never will.
_MOST_BLOCK = 64 << 20
# So many rows are read one by one where one was odd: odd ones come in swarms.
_SWARM = 500
_QUOTE, _LF, _CR, _SPACE = b'"\n\r '
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")
TOO_LARGE = f"The row is larger than the {sizes.MOST_ROW:,} bytes that a row may have."


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are written: what is between cells and how many a row has; without quotes, a row is a line."""

    delimiter: str = "\x1f"
    width: int = 1
    quotes: bool = False


class Lines:
    """Which line of the file a row of the cleaned one is from; both count from 1."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._lines = array("q")

    def add(self, row: int, line: int) -> None:
        """From that row on, rows are from one line after the other."""
        self._rows.append(row)
        self._lines.append(line)

    def of(self, row: int) -> int:
        """The line on which that row begins."""
        at = bisect_right(self._rows, row) - 1
        return self._lines[at] + row - self._rows[at]


# What becomes of a row that is not taken as it stands: its line, why it is none, its bytes, or its cells.
Odd = Callable[[int, str, str, list[str | None] | None], None]


@dataclass
class Cleaner:
    """Writes the rows of a file to `sink`, and tells `odd` of those that cannot be among them."""

    form: Form
    sink: BinaryIO
    odd: Odd
    line: int = 1
    rows: int = 0
    lines: Lines = field(default_factory=Lines)
    _next_line: int = 0
    has_breaks: bool = False

    def clean(self, source: BinaryIO, at: Callable[[int], None]) -> None:
        """Take all rows from where the source stands; `at` is told the place."""
        rest = b""
        while True:
            chunk = source.read(_BLOCK)
            at(source.tell())
            block = rest + chunk
            is_last = not chunk
            if is_last and block and not block.endswith((b"\n", b"\r") if self.form.quotes else b"\n"):
                block += b"\n"
            taken = self._all_of(block, is_last)
            rest = block[taken:]
            if is_last:
                return
            if len(rest) > _MOST_BLOCK:
                raise Broken(self._endless())

    def _endless(self) -> str:
        if self.form.quotes:
            return f"A quote that opens at line {self.line} is never closed."
        return f"Line {self.line} is past {_MOST_BLOCK >> 20} MB."

    def _all_of(self, block: bytes, is_last: bool) -> int:
        """Take the rows that are whole in the block; how many bytes they are."""
        taken = 0
        while taken < len(block):
            now = self._fast(block[taken:] if taken else block, is_last)
            taken += now
            if taken == len(block) or not self.form.quotes or (now and not self._is_odd and not is_last):
                break
            slowly = self._slowly(block[taken:], is_last)
            taken += slowly
            if slowly == 0:
                break
        return taken

    _is_odd: bool = False

    def _fast(self, block: bytes, is_last: bool) -> int:
        """Take whole rows up to the first with odd quotes; how many bytes they are."""
        import numpy as np

        codes = np.frombuffer(block, np.uint8)
        inside = None
        self._is_odd = False
        if self.form.quotes and _QUOTE in block:
            quotes = codes == _QUOTE
            inside = np.bitwise_xor.accumulate(quotes)
            odd = self._odd_quote(codes, quotes, inside, is_last)
            if odd is not None:
                self._is_odd = True
                codes, inside = codes[:odd], inside[:odd]
        ends = self._ends(codes, inside, is_last)
        if not len(ends):
            return 0
        size = int(ends[-1]) + 1
        self._take(block[:size], codes[:size], inside[:size] if inside is not None else None, ends)
        return size

    def _odd_quote(self, codes: "NDArray[Any]", quotes: Any, inside: Any, is_last: bool) -> int | None:
        """The place of the first quote that neither begins nor ends a cell nor is one of two inside one."""
        import numpy as np

        may = np.zeros(256, bool)
        may[[ord(self.form.delimiter), _LF, _CR, _QUOTE]] = True
        opens = np.flatnonzero(quotes & inside)
        closes = np.flatnonzero(quotes & ~inside)
        bad_open = opens[(opens > 0) & ~may[codes[opens - 1]]]
        followed = closes[closes < len(codes) - 1]
        bad_close = followed[~may[codes[followed + 1]]]
        found = [int(bad[0]) for bad in (bad_open, bad_close) if len(bad)]
        return min(found) if found else None

    def _ends(self, codes: "NDArray[Any]", inside: Any, is_last: bool) -> "NDArray[Any]":
        """The places of the bytes that end rows."""
        import numpy as np

        is_end = codes == _LF
        if self.form.quotes:
            returns = codes == _CR
            if returns.any():
                followed = np.append(codes[1:] == _LF, not is_last)
                is_end |= returns & ~followed
        if inside is not None:
            is_end &= ~inside
        return np.flatnonzero(is_end)

    def _take(self, block: bytes, codes: "NDArray[Any]", inside: Any, ends: "NDArray[Any]") -> None:
        """Take these rows, all whole and with the quotes of RFC 4180; `ends` are the places of their last bytes."""
        import numpy as np

        starts = np.append(0, ends[:-1] + 1)
        begun, line_count = self._lines_of(codes, inside, starts, ends)
        good = ends - starts <= sizes.MOST_ROW
        cells = None
        if self.form.quotes:
            is_delimiter = codes == ord(self.form.delimiter)
            if inside is not None:
                is_delimiter &= ~inside
            places = np.flatnonzero(is_delimiter)
            cells = np.diff(np.searchsorted(places, np.append(starts, len(codes)))) + 1
            good &= cells == self.form.width
        good &= self._is_something(codes, inside, starts)
        if not block.isascii():
            good &= self._is_utf8(block, codes, starts, ends)
        if b"\0" in block or (not self.form.quotes and b"\x1f" in block):
            good &= ~np.logical_or.reduceat((codes == 0) | ((codes == 31) & (not self.form.quotes)), starts)
        for n in np.flatnonzero(~good):
            self._look_at(block[starts[n] : ends[n] + 1], int(begun[n]))
        self._keep(block, codes, inside, starts, good, begun)
        self.line += line_count

    def _lines_of(self, codes: Any, inside: Any, starts: Any, ends: Any) -> "tuple[NDArray[Any], int]":
        """The line on which each row begins, and how many lines there are."""
        import numpy as np

        if inside is None:
            return self.line + np.arange(len(starts)), len(starts)
        returns = codes == _CR
        breaks = codes == _LF
        if returns.any():
            breaks |= returns & ~np.append(codes[1:] == _LF, False)
        places = np.flatnonzero(breaks)
        if len(places) == len(ends):
            return self.line + np.arange(len(starts)), len(starts)
        self.has_breaks = True
        return self.line + np.searchsorted(places, starts), len(places)

    def _is_something(self, codes: Any, inside: Any, starts: Any) -> Any:
        """Whether each row has more in it than separators, quotes and blanks."""
        import numpy as np

        blank = np.zeros(256, bool)
        blank[[_LF, _CR, _SPACE, ord("\t")]] = True
        if self.form.quotes:
            blank[[_QUOTE, ord(self.form.delimiter)]] = True
        maybe = blank[codes[starts]]
        if not maybe.any():
            return True
        something = ~blank[codes]
        if inside is not None:
            something |= inside & (codes == ord(self.form.delimiter))
        return ~maybe | np.logical_or.reduceat(something, starts)

    def _is_utf8(self, block: bytes, codes: Any, starts: Any, ends: Any) -> Any:
        import numpy as np

        try:
            block.decode()
        except UnicodeDecodeError:
            good = np.ones(len(starts), bool)
            for n in np.flatnonzero(np.logical_or.reduceat(codes >= 0x80, starts)):
                good[n] = _is_text(block[starts[n] : ends[n] + 1])
            return good
        return True

    def _look_at(self, raw: bytes, line: int) -> None:
        """Tell of a row that is not taken: nothing, where nothing is in it."""
        raw = raw.rstrip(b"\r\n")
        text = raw.decode(errors="replace")
        if not text.strip(f'{self.form.delimiter}" \t\r\n'):
            row: list[str | None] = next(self._reader(text), []) if self.form.quotes else []
            if not any(cell and cell.strip() for cell in row):
                return
        if len(raw) > sizes.MOST_ROW:
            self.odd(line, TOO_LARGE, text, None)
        elif not _is_text(raw):
            at = next(n for n, byte in enumerate(raw) if byte >= 0x80 and not _is_text(raw[: n + 1], cut=True))
            shown = raw[at : at + 1].hex().upper()
            reason = f"The row holds a byte that is no UTF-8 (0x{shown}): save the file as CSV UTF-8."
            self.odd(line, reason if self.form.quotes else reason.replace("CSV UTF-8", "UTF-8"), text, None)
        elif self.form.quotes:
            self._judge(next(self._reader(text)), line, text)
        else:
            self.odd(line, "", text, None)

    def _reader(self, text: str) -> Any:
        lines = io.StringIO(text, newline="")
        return csv.reader(lines, delimiter=self.form.delimiter, quoting=csv.QUOTE_NOTNULL)

    def _keep(self, block: bytes, codes: Any, inside: Any, starts: Any, good: Any, begun: Any) -> None:
        """Write the good rows."""
        import numpy as np

        lines = begun[good]
        if not len(lines):
            return
        where = np.flatnonzero(np.diff(lines, prepend=self._next_line - 1) != 1)
        for n in where:
            self.lines.add(self.rows + int(n) + 1, int(lines[n]))
        self.rows += len(lines)
        self._next_line = int(lines[-1]) + 1
        has_returns = _CR in block
        if has_returns:
            codes, kept = self._with_line_feeds(codes, inside)
        if not good.all():
            sizes_of = np.diff(np.append(starts, len(codes)))
            chosen = np.repeat(good, sizes_of)
            kept = chosen & kept if has_returns else chosen
        elif not has_returns:
            self.sink.write(block)
            return
        self.sink.write(codes[kept].tobytes())

    def _with_line_feeds(self, codes: Any, inside: Any) -> Any:
        """The bytes with LF for a CR outside of cells, and which of them are kept: not the CR of a CRLF."""
        import numpy as np

        returns = codes == _CR
        if inside is not None:
            returns &= ~inside
        if not self.form.quotes:
            returns &= np.append(codes[1:] == _LF, False)
        followed = np.append(codes[1:] == _LF, False)
        return np.where(returns, np.uint8(_LF), codes), ~(returns & followed)

    # One by one

    def _slowly(self, block: bytes, is_last: bool) -> int:
        """Take some rows by the rules of a reader that forgives; how many bytes they are."""
        taken = 0
        for _ in range(_SWARM):
            if taken >= len(block):
                break
            size = self._one(block, taken, is_last)
            if not size:
                break
            taken += size
        return taken

    def _one(self, block: bytes, start: int, is_last: bool) -> int:
        """Take the row that starts there; how many bytes it is, 0 where its end is not in the block."""
        lines = _Read(block, start)
        reader: Any = csv.reader(lines, delimiter=self.form.delimiter, strict=True, quoting=csv.QUOTE_NOTNULL)
        try:
            row: list[str | None] = next(reader, [])
        except csv.Error as error:
            if "end of data" in str(error):
                if not is_last:
                    return 0
                raise Broken(self._endless()) from error
            first = len(_LINE.match(block, start)[0])  # type: ignore[index]
            text = block[start : start + first].decode(errors="replace").rstrip("\r\n")
            self.odd(self.line, "The quotes of the row are wrong: one inside a cell is written as two.", text, None)
            self.line += 1
            return first
        raw = block[start : lines.place]
        if lines.place == len(block) and not is_last:
            return 0
        self._look_at_cells(row, raw)
        self.line += lines.count
        return lines.place - start

    def _look_at_cells(self, row: list[str | None], raw: bytes) -> None:
        if not any(cell and cell.strip() for cell in row):
            return
        if len(raw) > sizes.MOST_ROW or not _is_text(raw):
            self._look_at(raw, self.line)
            return
        if len(row) != self.form.width or "\0" in raw.decode():
            self._judge(row, self.line, raw.decode().rstrip("\r\n"))
            return
        line = io.StringIO()
        csv.writer(line, delimiter=self.form.delimiter, lineterminator="\n", quoting=csv.QUOTE_NOTNULL).writerow(row)
        self.sink.write(line.getvalue().encode())
        self.rows += 1
        self.has_breaks = self.has_breaks or any("\n" in cell or "\r" in cell for cell in row if cell)
        if self.line != self._next_line:
            self.lines.add(self.rows, self.line)
        self._next_line = self.line + 1

    def _judge(self, row: list[str | None], line: int, text: str) -> None:
        if len(row) != self.form.width:
            counted = f"{len(row)} cell" if len(row) == 1 else f"{len(row)} cells"
            self.odd(line, f"The row has {counted} where the header has {self.form.width}.", text, None)
        else:
            self.odd(line, "", text, row)


class _Read:
    """The lines of a block from a place on, as texts, with how far they were read."""

    def __init__(self, block: bytes, place: int) -> None:
        self.block = block
        self.place = place
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.place >= len(self.block):
            raise StopIteration
        found = _LINE.match(self.block, self.place)
        if found is None:
            raise StopIteration
        self.place = found.end()
        self.count += 1
        return found[0].decode(errors="replace")


def _is_text(raw: bytes, *, cut: bool = False) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return cut and error.end == len(raw) and "unexpected end" in error.reason
    return True


def begun(path: Path) -> BinaryIO:
    """The file, read from behind its byte order mark."""
    file = path.open("rb")
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    return file
