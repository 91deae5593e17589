"""Import time of each function's entry, as a cold start pays it, against a bare Chalice app with boto3; the zip's size.

A cold start imports `app`, then what the handler imports at its first event. Only `app` has a limit: the API's callers
wait for it. With a package in `.local/package/unpacked` (`make package`) the same is timed from it alone, and its size
is told.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

from infra.packaging.archive import size
from infra.packaging.checks import MOST_BYTES, clean_python

PROJECT = Path(__file__).resolve().parents[2]
UNPACKED = PROJECT / ".local" / "package" / "unpacked"
LIMIT = 2.5
ROUNDS = 15
FEW_ROUNDS = 3
HEAVY = ("duckdb", "numpy", "pandas", "pyreadstat")

TIMED = "import time; begun = time.perf_counter(); {code}; print(time.perf_counter() - begun)"
BARE = "import boto3; from chalice import Chalice; Chalice('bare')"
APP = "import app"


def seconds(code: str, rounds: int, folder: Path | None = None) -> float:
    """The least import time of the code in a fresh interpreter, its bytecode compiled; from the folder alone if given."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    python = [sys.executable]
    timed = TIMED.format(code=code)
    if folder is not None:
        python, timed = clean_python(), f"import sys; sys.path.insert(0, {str(folder)!r}); {timed}"
    times = []
    for _ in range(rounds):
        done = subprocess.run([*python, "-c", timed], capture_output=True, text=True, check=True, env=environment)
        times.append(float(done.stdout))
    return min(times)


def entries() -> dict[str, str]:
    """What each function imports until it works on its first event, by the function's name."""
    from app import app

    found = {"api_handler": APP}
    tree = ast.parse((PROJECT / "app.py").read_text())
    bodies = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    names = [one.name for one in [*app.builtin_auth_handlers, *app.event_sources, *app.pure_lambda_functions]]
    for name in names:
        own = [ast.unparse(node) for node in ast.walk(bodies[name]) if isinstance(node, ast.Import | ast.ImportFrom)]
        found[name] = "; ".join([APP, *own])
    return found


def loaded(code: str) -> list[str]:
    """Which heavy modules are there once the code has run."""
    asked = f"{code}; import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout.split()


def packaged() -> None:
    """Time the same from the unpacked package, and tell its size."""
    if not UNPACKED.exists():
        print("  no package here (make package): its size is not told")
        return
    total = size(UNPACKED)
    print(f"unzipped: {total / 2**20:.1f} MiB of {MOST_BYTES / 2**20:.0f}")
    bare = seconds(BARE, FEW_ROUNDS, UNPACKED)
    for name, code in entries().items():
        took = seconds(code, FEW_ROUNDS, UNPACKED)
        print(f"  {name:<12} from the package alone {took:.3f} s, ratio {took / bare:.2f}")


def main() -> bool:
    """Print the ratios; whether the API's is within the limit and loads nothing heavy."""
    for code in (BARE, APP):
        seconds(code, 1)
    # By turns, so that what else the machine does falls on both.
    bare, app = (
        min(times) for times in zip(*((seconds(BARE, 1), seconds(APP, 1)) for _ in range(ROUNDS)), strict=True)
    )
    heavy = loaded(APP)
    print(f"import of app: {app:.3f} s, of a bare Chalice app with boto3: {bare:.3f} s")
    print(f"  ratio {app / bare:.2f} (limit {LIMIT}); heavy modules loaded by it: {heavy}")
    for name, code in entries().items():
        took = seconds(code, FEW_ROUNDS)
        print(f"  {name:<12} {took:.3f} s, ratio {took / bare:.2f}, heavy modules: {loaded(code)}")
    packaged()
    return app / bare <= LIMIT and heavy == []


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
