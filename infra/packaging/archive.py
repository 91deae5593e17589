"""One zip whose bytes follow from its files alone: compiled ahead, sorted, without a time or a machine's path."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

# Where Lambda unpacks it; tracebacks name files below it.
TASK = "/var/task"
# The earliest that a zip can tell.
EPOCH = (1980, 1, 1, 0, 0, 0)

# Unchecked: Lambda's disk is read-only and a zip keeps no exact time, so a checked file would be compiled again at each
# cold start. One process in a fixed order: marshal's bytes depend on what the process has interned before.
_COMPILE = """
import compileall, py_compile, sys
folder, task = sys.argv[1:]
compileall.compile_dir(folder, maxlevels=64, force=True, quiet=2, stripdir=folder, prependdir=task, workers=1,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
"""


def precompile(folder: Path) -> None:
    """Put bytecode beside every Python file below the folder, as Lambda's interpreter reads it."""
    # The order of a set that became a constant follows the seed.
    environment = {"PYTHONHASHSEED": "0", "PATH": os.environ.get("PATH", "")}
    subprocess.run([sys.executable, "-P", "-s", "-c", _COMPILE, str(folder), TASK], env=environment, check=True)


def size(folder: Path) -> int:
    """The bytes of all files below the folder: what Lambda measures."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write(folder: Path, target: Path) -> None:
    """Write all files below the folder into a zip."""
    part = target.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        for name in names:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
    part.replace(target)
