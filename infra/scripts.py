"""Scripts that need an environment of their own: what they pin is in a lock beside them, apart from the service's.

Such a script begins with its dependencies (https://packaging.python.org/en/latest/specifications/inline-script-metadata/);
`uv lock --script FILE` writes FILE.lock, from which alone it is run.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

# What uv says when no registry can be reached and the environment is not there yet.
OFFLINE = re.compile(r"dns error|error sending request|tcp connect|Network connectivity|offline", re.IGNORECASE)

_PROJECT = Path(__file__).resolve().parents[1]


def uv() -> list[str]:
    """The command that is uv: `uv run` names itself; elsewhere it is looked for."""
    named = os.environ.get("UV") or shutil.which("uv")
    return [named] if named else ["python3", "-m", "uv"]


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The end of a script that was run in its own environment, which is made from its lock where it is missing."""
    command = [*uv(), "run", "--quiet", "--frozen", "--script", str(script), *arguments]
    return subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True, check=False)
