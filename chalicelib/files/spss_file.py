"""The SPSS writer: pyreadstat writes the dictionary, and the rows follow as fixed-width records packed by numpy.

The layout of the file is PSPP's description
(https://www.gnu.org/software/pspp/pspp-dev/html_node/System-File-Format.html).
"""

import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from chalicelib.base.table import Column
from chalicelib.files.cells import (
    Measured,
    limits,
    measure,
    number_list,
    rendered,
    source,
    wall_clock_of,
    within,
)
from chalicelib.files.contract import Format, Options, Rendering
from chalicelib.files.pipe import Sink
from chalicelib.files.spss_rules import (
    EXACT_INTEGER,
    FIRST_DATE,
    NOTHING,
    SEGMENT,
    SEGMENT_STEP,
    TEXT_BYTES,
    Plan,
    Promise,
    Variable,
    plan,
    segment_count,
    short_names,
)

if TYPE_CHECKING:
    import duckdb
    import numpy as np

# SPSS counts seconds from the first day of the Gregorian calendar.
_EPOCH = "1582-10-14"
_SECONDS_TO_1970 = 12_219_379_200
_SYSTEM_MISSING = "-1.7976931348623157e308"
# The least and greatest doubles stand for "missing", "lowest" and "highest".
_LARGEST = "1.797693134862315e308"
_WORD = 8
_SPACE, _SPACES = 0x20, 0x2020202020202020
# What is packed at a time fits a processor's cache; what is queried at a time bounds the memory of wide tables.
_PACKED_BYTES = 1 << 20
_CACHED_BYTES = 1 << 17
_QUERIED_BYTES = 64 << 20
_BATCH_ROWS = 122_880
_ZLIB_BLOCK = 0x3FF000
# Three times as fast as the default of 6, for files that are a tenth larger.
_ZLIB_LEVEL = 4
_BIAS = 100
# Codes 1 to 251 are the numbers -99 to 151.
_LAST_CODE, _LITERAL, _BLANK, _ABSENT = 251, 253, 254, 255
_SHOWN_WIDTH = 40
_HEADER_BYTES = 176
_EXTENSION = 7
_RESPONSE_SETS, _LONG_NAMES, _CASES = 7, 13, 16
# Control characters, and the line and paragraph separators, are spaces where a line is one record.
_NO_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
# Where the short name stands in the record of a variable.
_VARIABLE, _NAME = 2, slice(24, 32)


class SpssOptions(Options):
    """How an SPSS file is written: `compressed` makes it a .zsav."""

    compressed: bool = False
    """Whether it is a .zsav."""


def write(asked: Rendering[SpssOptions]) -> list[str]:
    """Send `result` as .sav (or .zsav, spooled in `folder`) to the sink; answers the warnings.

    Datetimes are the zone's wall clock, cut to seconds. Raises what the sink or the query raises.
    """
    return write_alike(asked)[0]


def write_alike(asked: Rendering[SpssOptions], before: Promise = NOTHING) -> tuple[list[str], Promise]:
    """As `write`, with the dictionary that earlier files had; answers also what later ones are to keep."""
    con, columns, zone, folder, sink = asked.con, asked.columns, asked.zone, asked.folder, asked.sink
    compressed = asked.options.compressed
    measured = _measured(con, columns)
    planned = plan(columns, measured, zone, before)
    rows = con.execute("SELECT count(*) FROM result").fetchall()[0][0]
    layout = Layout.of(planned.variables, [found.get("bytes") or 0 for found in measured])
    header = dictionary(planned, layout, rows, folder, compressed=compressed)
    cells = [(variable.column, _cell(variable, columns, zone, measured)) for variable in planned.variables]
    blocks = _blocks(con, cells, source(con, columns), layout)
    if compressed:
        _send_compressed(header, blocks, layout, folder, sink)
    else:
        sink.write(header)
        for block in blocks:
            sink.write(block.tobytes())
    return list(planned.warnings), planned.promise


def measurements(column: Column, expression: str) -> dict[str, str]:
    """The aggregates that `plan` decides from, by name."""
    match column.type:
        case "text":
            return _text_measurements(expression)
        case "choices" if not column.choices:
            return _text_measurements(_codes_as_text(expression))
        case "choices":
            codes = number_list([choice.code for choice in column.choices])
            return {"unknown": f"count_if(NOT list_has_all({codes}, {expression}))"}
        case "integer":
            inexact = f"count_if({expression} NOT BETWEEN -{EXACT_INTEGER} AND {EXACT_INTEGER})"
            return {"low": f"min({expression})", "high": f"max({expression})", "inexact": inexact}
        case "number":
            return {
                "outside": f"count_if(NOT ({_fits(column, expression)}))",
                "low": f"min({expression})",
                "high": f"max({expression})",
            }
        case _:
            return limits(column, expression, FIRST_DATE)


def _text_measurements(expression: str) -> dict[str, str]:
    # `bytes` counts NULs too, which makes a column wider than it must be, to no harm.
    return {
        "bytes": f"max(strlen({expression}))",
        "nuls": f"count_if(contains({expression}, chr(0)))",
        "trailing": f"count_if(suffix({expression}, ' '))",
        "empty": f"count_if({expression} = '')",
    }


def _measured(con: "duckdb.DuckDBPyConnection", columns: Sequence[Column]) -> list[Measured]:
    """What `measurements` asks for; and for the columns that may have them, how many texts are too long."""
    first = measure(con, columns, measurements)
    wide = {column.name for column, found in zip(columns, first, strict=True) if (found.get("bytes") or 0) > TEXT_BYTES}

    def long(column: Column, expression: str) -> dict[str, str]:
        clean = f"replace({expression}, chr(0), '')"
        return {"long": f"count_if(strlen({clean}) > {TEXT_BYTES})"} if column.name in wide else {}

    return [one | other for one, other in zip(first, measure(con, columns, long), strict=True)]


def _codes_as_text(expression: str) -> str:
    return f"array_to_string(list_sort(list_distinct({expression})), ';')"


def _fits(column: Column, expression: str) -> str:
    if column.type == "number":
        return f"abs({expression}) < {_LARGEST}"
    return within(column, expression, FIRST_DATE)


def _cell(variable: Variable, columns: Sequence[Column], zone: str, measured: Sequence[Measured]) -> str:
    """The SQL of the variable's cells: a DOUBLE without nulls, or a VARCHAR of no more bytes than the variable has."""
    column, found, expression = columns[variable.column], measured[variable.column], f"c{variable.column}"
    if variable.width:
        text = _codes_as_text(expression) if column.type == "choices" else expression
        return _text_cell(text, variable.width, found)
    match column.type:
        case "choices":
            value = f"CASE WHEN {expression} IS NOT NULL THEN list_contains({expression}, {variable.code})::INTEGER END"
        case "date":
            value = f"({expression} - DATE '{_EPOCH}') * 86400"
        case "datetime":
            wall = wall_clock_of(expression, zone, found)
            # Whole numbers are divided towards zero; from SPSS's epoch on none is negative.
            value = f"(epoch_us({wall}) + {_SECONDS_TO_1970}000000) // 1000000"
        case _:
            value = f"{expression}::INTEGER" if column.type == "boolean" else expression
    if found.get("outside"):
        value = f"CASE WHEN {_fits(column, expression)} THEN {value} END"
    return f"coalesce(({value})::DOUBLE, {_SYSTEM_MISSING})"


def _text_cell(expression: str, width: int, found: Measured) -> str:
    clean = f"replace({expression}, chr(0), '')" if found["nuls"] else expression
    if (found["bytes"] or 0) > width:
        return f"CASE WHEN strlen({clean}) <= {width} THEN {clean} ELSE {_cut(clean, width)} END"
    return clean


def _cut(expression: str, size: int) -> str:
    """The SQL of the longest start of a text that has at most so many bytes, found by halving steps."""
    steps = ", ".join(str(1 << power) for power in range(size.bit_length() - 1, -1, -1))
    fitting = f"CASE WHEN strlen(left({expression}, size + step)) <= {size} THEN size + step ELSE size END"
    return f"left({expression}, list_reduce([{steps}]::BIGINT[], lambda size, step: {fitting}, 0::BIGINT))"


def _place(width: int) -> int:
    """The bytes that a variable takes in a record."""
    if width > SEGMENT:
        others = segment_count(width) - 1
        return others * (SEGMENT + 1) + _place(width - others * SEGMENT_STEP)
    return -(-max(width, 1) // _WORD) * _WORD


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each variable stands in a record: `offsets` and `places` in bytes, `size` of the whole.

    Of a text's place only the `filled` bytes are ever other than spaces; 0 where a value may go on in further segments.
    """

    variables: tuple[Variable, ...]
    offsets: tuple[int, ...]
    filled: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, variables: Sequence[Variable], sizes: Sequence[int]) -> "Layout":
        """The layout of these variables, one after the other; `sizes` are of each column's longest text, in bytes."""
        offsets = tuple(accumulate((_place(variable.width) for variable in variables), initial=0))
        longest = [min(sizes[variable.column], variable.width) for variable in variables]
        filled = tuple(
            _place(size) if variable.width and size <= SEGMENT else 0
            for variable, size in zip(variables, longest, strict=True)
        )
        return cls(tuple(variables), offsets[:-1], filled, offsets[-1])


def dictionary(planned: Plan, layout: Layout, rows: int, folder: Path, *, compressed: bool) -> bytes:
    """All of the file that comes before its cases.

    pyreadstat takes the widths of texts from their values, so it writes one row of full widths, which is cut off. It is
    given short names of one shape, which can clash neither with each other nor with the names that it derives for the
    segments of long texts; the real names, those that IBM asks of segments, the number of cases, and the multiple
    response sets, which it cannot write, are put in after.
    """
    shorts = short_names([variable.name for variable in planned.variables])
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "dictionary.sav"
        _write_one_row(planned.variables, shorts, path)
        content = path.read_bytes()
    end = len(content) - layout.size
    if content[end - 8 : end] != struct.pack("<2i", 999, 0):
        raise ValueError("the dictionary does not have the widths that were asked for")
    head = bytearray(content[:_HEADER_BYTES])
    struct.pack_into("<i", head, 80, rows)
    if compressed:
        head[:4] = b"$FL3"
        struct.pack_into("<i", head, 72, 2)
    long_names = {short: variable.name for short, variable in zip(shorts, planned.variables, strict=True)}
    return bytes(head) + b"".join(_completed(content[:end], long_names, planned, rows))


def _write_one_row(variables: Sequence[Variable], shorts: Sequence[str], path: Path) -> None:
    import pandas
    import pyreadstat

    named = list(zip(shorts, variables, strict=True))
    frame = pandas.DataFrame({short: ["x" * one.width] if one.width else [0.0] for short, one in named})
    pyreadstat.write_sav(
        frame,
        str(path),
        column_labels=[variable.label for variable in variables],
        variable_value_labels={short: dict(one.value_labels) for short, one in named if one.value_labels},
        missing_ranges={short: ranges for short, one in named if (ranges := _missing_ranges(one))},
        variable_measure={short: one.measure for short, one in named},
        variable_format={short: one.format for short, one in named},
        variable_display_width={short: min(one.width, _SHOWN_WIDTH) for short, one in named if one.width},
    )


def _missing_ranges(variable: Variable) -> list[Any]:
    """The user-missing values in pyreadstat's words."""
    values: list[Any] = list(variable.missing.values)
    if variable.missing.range:
        low, high = variable.missing.range
        return [{"lo": low, "hi": high}, *values]
    return values


def _completed(content: bytes, long_names: dict[str, str], planned: Plan, rows: int) -> Iterator[bytes]:
    """The records of the dictionary, with the real names, those of segments, the response sets and the count of rows.

    IBM's library sees response sets only where they stand before the long names.
    """
    segments = iter([name for variable in planned.variables for name in variable.segments])
    shorts = {name: short for short, name in long_names.items()}
    for kind, start, end in _records(content):
        record = content[start:end]
        if kind == (_VARIABLE, 0) and record[_NAME].decode().rstrip() not in long_names:
            yield record[: _NAME.start] + next(segments).encode().ljust(_WORD) + record[_NAME.stop :]
        elif kind == (_EXTENSION, _LONG_NAMES):
            if planned.sets:
                yield _extension(_RESPONSE_SETS, _response_sets(planned, shorts))
            yield _extension(_LONG_NAMES, "\t".join(f"{short}={name}" for short, name in long_names.items()).encode())
        elif kind == (_EXTENSION, _CASES):
            yield record[:-_WORD] + struct.pack("<q", rows)
        else:
            yield record


def _response_sets(planned: Plan, shorts: dict[str, str]) -> bytes:
    """One line a set: its name, that 1 (a text of one byte) is counted, its label, its variables by short names.

    A line break in a label would end the line: at a carriage return IBM's library stops the whole program.
    """
    lines = []
    for one in planned.sets:
        label = one.label.translate(_NO_CONTROLS).encode()
        members = " ".join(shorts[name].lower() for name in one.variables).encode()
        lines.append(one.name.encode() + b"=D1 1 %d " % len(label) + label + b" " + members + b"\n")
    return b"".join(lines)


def _extension(subtype: int, data: bytes) -> bytes:
    return struct.pack("<4i", _EXTENSION, subtype, 1, len(data)) + data


def _records(content: bytes) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Each record of a dictionary after its header: its type and subtype (-1: a text goes on), start and end."""
    start = _HEADER_BYTES
    while start < len(content):
        kind, first, second, third = struct.unpack_from("<4i", content.ljust(start + 16), start)
        end, subtype = start + 8, 0
        match kind:
            case 2:  # a variable: width, has a label, missing values, formats and name, then the label and the values
                end, subtype = start + 32, min(first, 0)
                if second:
                    (size,) = struct.unpack_from("<i", content, end)
                    end += 4 + -(-size // 4) * 4
                end += 8 * abs(third)
            case 3:  # value labels: each a value, a length and a text, padded to a multiple of 8
                for _ in range(first):
                    end += 8 + -(-(content[end + 8] + 1) // 8) * 8
            case 4:  # the variables that those labels are for
                end += 4 * first
            case 7:
                end, subtype = start + 16 + second * third, first
        yield (kind, subtype), start, end
        start = end


def _blocks(
    con: "duckdb.DuckDBPyConnection", cells: Sequence[tuple[int, str]], base: str, layout: Layout
) -> "Iterator[np.ndarray[Any, Any]]":
    """The records as arrays of words (rows, words of a record), in the order of the rows; each holds until the next."""
    import nanoarrow
    import numpy as np

    # Filled with spaces once: what one block of records writes, the next one overwrites.
    records = np.full((max(_PACKED_BYTES // layout.size, 1), layout.size // _WORD), np.uint64(_SPACES))
    for window in _windows(con, layout.size):
        stream = nanoarrow.c_array_stream(con.sql(rendered(cells, base + window)))
        try:
            while batch := _next_batch(stream):
                yield from _packed(batch, layout, records)
        finally:
            stream.release()


def _next_batch(stream: Any) -> Any:
    """The next Arrow batch, None after the last; raises DuckDB's errors, which nanoarrow only passes on as words."""
    import duckdb

    try:
        return next(stream, None)
    except RuntimeError as error:
        kind = duckdb.InterruptException if "INTERRUPT Error" in str(error) else duckdb.Error
        raise kind(str(error)) from error


def _windows(con: "duckdb.DuckDBPyConnection", record: int) -> Iterator[str]:
    """The conditions that give all rows, in parts when a batch of so large records would take too much memory."""
    rows = max(_QUERIED_BYTES // max(record, 1), 1)
    if rows >= _BATCH_ROWS:
        yield ""
        return
    last = con.execute("SELECT coalesce(max(rowid), -1) FROM result").fetchall()[0][0]
    for first in range(0, last + 1, rows):
        yield f" WHERE rowid >= {first} AND rowid < {first + rows}"


def _packed(batch: Any, layout: Layout, records: "np.ndarray[Any, Any]") -> "Iterator[np.ndarray[Any, Any]]":
    """The records of one Arrow batch, as many at a time as `records` has room for."""
    columns = [_column(batch.child(at), variable, layout.filled[at]) for at, variable in enumerate(layout.variables)]
    placed = list(zip(layout.variables, layout.offsets, layout.filled, columns, strict=True))
    for first in range(0, batch.length, len(records)):
        words = records[: batch.length - first]
        last = first + len(words)
        numbers, content = words.view("<f8"), words.view("u1")
        for variable, offset, filled, column in placed:
            at = offset // _WORD
            if filled:
                words[:, at : at + filled // _WORD] = column[first:last]
            elif variable.width:
                content[:, offset : offset + _place(variable.width)] = _SPACE
                _scatter(content, offset, column, first)
            else:
                numbers[:, at] = column[first:last]
        yield words


def _column(array: Any, variable: Variable, filled: int) -> Any:
    """The values of an Arrow column: doubles (rows,), padded texts as words (rows, words), or offsets and bytes."""
    import numpy as np

    view = array.view()
    if not variable.width:
        return np.frombuffer(view.buffer(1), "<f8", array.length, array.offset * _WORD)
    # A text that is null has no bytes.
    offsets = np.frombuffer(view.buffer(1), "<i4", array.length + 1, array.offset * 4)
    if not filled:
        return offsets.tolist(), memoryview(view.buffer(2)).cast("B")
    texts = np.frombuffer(view.buffer(2), "u1", int(offsets[-1]))[offsets[0] :]
    return _padded(offsets - offsets[0], texts, filled)


def _padded(offsets: "np.ndarray[Any, Any]", texts: "np.ndarray[Any, Any]", filled: int) -> "np.ndarray[Any, Any]":
    """Texts that lie one behind the other, each with spaces up to the `filled` bytes, as words (rows, words).

    So many bytes are taken from where each text begins, whatever follows it; what is not its own becomes spaces.
    """
    import numpy as np

    masks, sizes, spaces = _masks(filled), np.diff(offsets), np.uint64(_SPACES)
    runs = np.concatenate([texts, np.zeros(filled, "u1")])
    windows = np.ndarray((len(runs) - filled + 1,), f"V{filled}", runs, strides=(1,))
    padded = np.empty((len(sizes), filled // _WORD), "<u8")
    step = max(_CACHED_BYTES // filled, 1)
    for first in range(0, len(sizes), step):
        some = slice(first, first + step)
        words = windows[offsets[:-1][some]].view("<u8").reshape(-1, filled // _WORD)
        words ^= spaces
        words &= masks.take(sizes[some], axis=0, mode="clip")
        np.bitwise_xor(words, spaces, out=padded[some])
    return padded


@cache
def _masks(filled: int) -> "np.ndarray[Any, Any]":
    """For each size of a text the words (sizes, words) whose bits are set where its bytes are."""
    import numpy as np

    own = np.arange(filled) < np.arange(filled + 1)[:, np.newaxis]
    return np.where(own, np.uint8(0xFF), np.uint8(0)).view("<u8")


def _scatter(content: "np.ndarray[Any, Any]", offset: int, column: tuple[list[int], memoryview], first: int) -> None:
    """Put long texts into their segments; the records hold spaces there before."""
    starts, texts = column
    record = content.shape[1]
    flat = memoryview(content).cast("B")
    for row in range(content.shape[0]):
        begin, end = starts[first + row], starts[first + row + 1]
        target = row * record + offset
        for piece in range(begin, end, SEGMENT):
            size = min(end - piece, SEGMENT)
            flat[target : target + size] = texts[piece : piece + size]
            target += SEGMENT + 1


def _send_compressed(
    header: bytes, blocks: "Iterator[np.ndarray[Any, Any]]", layout: Layout, folder: Path, sink: Sink
) -> None:
    """Send the header and the records as compressed blocks; they are spooled, for their table's place comes first."""
    numeric = [offset // _WORD for one, offset in zip(layout.variables, layout.offsets, strict=True) if not one.width]
    with tempfile.TemporaryFile(dir=folder) as spool:
        begin = len(header) + 24
        table = _spool(_bytecodes(blocks, numeric), begin, spool)
        trailer = begin + spool.tell()
        sink.write(header + struct.pack("<3q", len(header), trailer, 24 + 24 * len(table)))
        spool.seek(0)
        while chunk := spool.read(_PACKED_BYTES):
            sink.write(chunk)
    entries = b"".join(struct.pack("<2q2i", *entry) for entry in table)
    sink.write(struct.pack("<2q2i", -_BIAS, 0, _ZLIB_BLOCK, len(table)) + entries)


type _Entry = tuple[int, int, int, int]


def _spool(pieces: Iterator[bytes], begin: int, spool: BinaryIO) -> list[_Entry]:
    """Write zlib blocks of equal size (but the last) and answer the table of them: the place of each in what was
    compressed and in the file, and both its sizes. `begin` is the place of the first in the file."""
    table: list[_Entry] = []
    plain, packed = begin - 24, begin
    buffer = bytearray()

    def add(block: bytes) -> None:
        nonlocal plain, packed
        compressed = zlib.compress(block, _ZLIB_LEVEL)
        spool.write(compressed)
        table.append((plain, packed, len(block), len(compressed)))
        plain, packed = plain + len(block), packed + len(compressed)

    for piece in pieces:
        buffer += piece
        while len(buffer) >= _ZLIB_BLOCK:
            add(bytes(buffer[:_ZLIB_BLOCK]))
            del buffer[:_ZLIB_BLOCK]
    if buffer:
        add(bytes(buffer))
    return table


def _bytecodes(blocks: "Iterator[np.ndarray[Any, Any]]", numeric: Sequence[int]) -> Iterator[bytes]:
    """The records in SPSS's byte code: for each eight words a word of eight codes, then the words that have none."""
    import numpy as np

    for block in blocks:
        codes = np.full(block.shape, _LITERAL, np.uint8)
        codes[block == np.uint64(_SPACES)] = _BLANK
        numbers = block.view("<f8")[:, numeric]
        small = (numbers > -_BIAS) & (numbers <= _LAST_CODE - _BIAS) & (numbers == np.floor(numbers))
        coded = np.where(small, numbers + _BIAS, np.where(numbers == float(_SYSTEM_MISSING), _ABSENT, _LITERAL))
        codes[:, numeric] = coded.astype(np.uint8)
        yield _interleaved(codes.reshape(-1), block.reshape(-1))


def _interleaved(codes: "np.ndarray[Any, Any]", words: "np.ndarray[Any, Any]") -> bytes:
    """Each eight codes (the last padded with code 0, which stands for nothing), then their literal words."""
    import numpy as np

    groups = -(-len(codes) // _WORD)
    padded = np.zeros(groups * _WORD, np.uint8)
    padded[: len(codes)] = codes
    literals = np.flatnonzero(codes == _LITERAL)
    out = np.empty(groups + len(literals), "<u8")
    # A literal stands after the codes of its own group and of those before, and after the literals before it.
    places = literals // _WORD + 1 + np.arange(len(literals))
    out[places] = words[literals]
    before = np.searchsorted(literals, np.arange(groups) * _WORD)
    out[np.arange(groups) + before] = padded.view("<u8")
    return out.tobytes()


FORMAT = Format(
    write,
    SpssOptions,
    lambda options: ".zsav" if options.compressed else ".sav",
    lambda _options: "application/x-spss-sav",
    write_alike,
)
