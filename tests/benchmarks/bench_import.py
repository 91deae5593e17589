"""Import time of each function's entry, as a cold start pays it, against a bare Chalice app with boto3."""

import os
import subprocess
import sys

LIMIT = 2.5
ROUNDS = 9

TIMED = "import time; begun = time.perf_counter(); {code}; print(time.perf_counter() - begun)"
BARE = "import boto3; from chalice import Chalice; Chalice('bare')"
APP = "import app"


def seconds(code: str) -> float:
    """The least import time of the code in a fresh interpreter, its bytecode compiled."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", TIMED.format(code=code)]
    times = []
    for _ in range(ROUNDS):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        times.append(float(done.stdout))
    return min(times)


def main() -> bool:
    """Print the ratio; whether it is within the limit."""
    for code in (BARE, APP):
        seconds(code)
    bare, app = seconds(BARE), seconds(APP)
    heavy = subprocess.run(
        [sys.executable, "-c", "import app, sys; print([m for m in ('duckdb', 'numpy', 'pandas', 'pyreadstat') if m in sys.modules])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    print(f"import of app: {app:.3f} s, of a bare Chalice app with boto3: {bare:.3f} s")
    print(f"  ratio {app / bare:.2f} (limit {LIMIT}); heavy modules loaded by it: {heavy}")
    return app / bare <= LIMIT and heavy == "[]"


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
