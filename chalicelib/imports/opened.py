"""What an uploaded file is: unpacked where it is gzip, named for what it is where it is nothing that can be read."""

import gzip
import re
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from pathlib import Path
from typing import Literal

from chalicelib.imports.header import Broken

# What a file may unpack to: a job has twice that of disk.
MOST_BYTES = 5 * 1024**3
_CHUNK = 1 << 20

# A character past ASCII, as UTF-8 has it: https://www.unicode.org/versions/latest/ table 3-7.
_CHARACTER = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)

Encoding = Literal["utf-8", "utf-16-le", "utf-16-be", "windows-1252"]

_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook of the older kind (.xls); save it as CSV UTF-8 in Excel",
    b"$FL2": "an SPSS file (.sav); save it as CSV",
    b"$FL3": "an SPSS file (.zsav); save it as CSV",
    b"%PDF": "a PDF",
    b"BZh": "packed with bzip2; unpack it, or pack it with gzip",
    b"\xfd7zXZ\x00": "packed with xz; unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it, or pack it with gzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"ORC": "an ORC file; write Parquet instead",
    b"Obj\x01": "an Avro file; write Parquet instead",
    b"ARROW1": "an Arrow (Feather) file; write Parquet instead",
    b"FEA1": "a Feather file; write Parquet instead",
    b"SQLite format 3\x00": "a SQLite database",
    b"{\\rtf": "a text of a word processor (RTF)",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
}
_CALLED = {"csv": "a CSV", "ndjson": "NDJSON", "parquet": "Parquet"}


def unpack(path: Path) -> None:
    """Put the content of a gzip file in its place. Broken when it is damaged or unpacks to more than may be."""
    while _begins(path, b"\x1f\x8b"):
        unpacked = path.with_suffix(".unpacked")
        try:
            with gzip.open(path) as packed, unpacked.open("wb") as sink:
                while chunk := packed.read(_CHUNK):
                    if sink.tell() + len(chunk) > MOST_BYTES:
                        raise Broken("The file unpacks to more than 5 GB. Import it in parts.")
                    sink.write(chunk)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Broken("The file is gzip that is damaged or not whole.") from error
        unpacked.replace(path)


def check(path: Path, form: str) -> None:
    """Broken when the file's first bytes say that it is something else than a file of that format."""
    with path.open("rb") as file:
        first = file.read(512)
    if form == "parquet":
        _check_parquet(path, first)
        return
    if first.startswith((b"PAR1", b"PARE")):
        raise Broken(f"The file is Parquet, not {_CALLED[form]}: make an import of the format parquet.")
    what = _what(path, first)
    if what is not None:
        raise Broken(f"The file is {what}, not {_CALLED[form]}.")
    if form == "csv" and first.lstrip(BOM_UTF8 + b" \t\r\n").startswith((b"{", b"[{", b"[\n", b"[ ")):
        raise Broken("The file is JSON, not a CSV: make an import of the format ndjson, one object a line.")
    if first.lstrip(BOM_UTF8 + b" \t\r\n")[:15].lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        raise Broken(f"The file is a page or XML, not {_CALLED[form]}.")


def _check_parquet(path: Path, first: bytes) -> None:
    if first.startswith(b"PARE"):
        raise Broken("The file is encrypted Parquet. Write it without encryption.")
    if first.startswith(b"PAR1"):
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 4, 0))
            if file.read() == b"PAR1":
                return
        raise Broken("The file is Parquet that is cut off: its end is missing.")
    if not first:
        raise Broken("The file is empty.")
    what = _what(path, first)
    raise Broken(f"The file is {what}, not Parquet." if what else "The file is not Parquet: it does not begin as such.")


def _what(path: Path, first: bytes) -> str | None:
    for begin, what in _OTHERS.items():
        if first.startswith(begin):
            return _office(path) or what if begin == b"PK\x03\x04" else what
    return None


def _office(path: Path) -> str | None:
    """What kind of document a zip archive is, as the names in it tell."""
    with path.open("rb") as file:
        beginning = file.read(1 << 16)
        file.seek(max(path.stat().st_size - (1 << 16), 0))
        names = beginning + file.read()
    if b"xl/" in names:
        return "an Excel workbook (.xlsx); save it as CSV UTF-8 in Excel"
    if b"spreadsheet" in names:
        return "a spreadsheet of LibreOffice (.ods); save it as CSV"
    return "a document of Word (.docx)" if b"word/" in names else None


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def to_utf8(path: Path, sink: Path, *, is_json: bool = False) -> Encoding:
    """Write a text file to `sink` in UTF-8 and put it in place, unless it is that. JSON is never Windows-1252.

    What cannot be decoded becomes bytes that are not UTF-8, so that the rows which hold them are told.
    """
    encoding = _encoding(path)
    if is_json and encoding == "windows-1252":
        encoding = "utf-8"
    if encoding == "utf-8":
        return encoding
    codec = "cp1252" if encoding == "windows-1252" else encoding
    errors = "surrogateescape" if encoding == "windows-1252" else "surrogatepass"
    decoder = getincrementaldecoder(codec)(errors)
    with path.open("rb") as source, sink.open("wb") as target:
        source.seek(0 if encoding == "windows-1252" else 2)
        while chunk := source.read(_CHUNK):
            target.write(decoder.decode(chunk).encode("utf-8", errors))
        try:
            target.write(decoder.decode(b"", final=True).encode("utf-8", errors))
        except UnicodeDecodeError:
            target.write(b"\xff")
    sink.replace(path)
    return encoding


def _encoding(path: Path) -> Encoding:
    with path.open("rb") as file:
        first = file.read(4)
    if first.startswith(BOM_UTF8):
        return "utf-8"
    if first.startswith(BOM_UTF16_LE):
        return "utf-16-le"
    if first.startswith(BOM_UTF16_BE):
        return "utf-16-be"
    return _without_mark(path)


def _without_mark(path: Path) -> Encoding:
    """Windows-1252 where some bytes are no UTF-8 and no character past ASCII is."""
    decoder = getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            held = b""
            while chunk := file.read(_CHUNK):
                if not chunk.isascii() and _CHARACTER.search(held + chunk):
                    return "utf-8"
                held = chunk[-3:]
            return "windows-1252"
    return "utf-8"
