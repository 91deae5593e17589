"""`make bench`: every benchmark, each against its limit and its peers in the same run.

`python -m tests.benchmarks metrics import` runs those two only.
"""

import importlib
import pkgutil
import sys
import time

import tests.benchmarks


def names() -> list[str]:
    """The benchmarks there are."""
    found = (module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__))
    return sorted(name.removeprefix("bench_") for name in found if name.startswith("bench_"))


def main(asked: list[str]) -> int:
    """Run those asked for, or all; 0 when every limit held."""
    missed = []
    for name in asked or names():
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        if importlib.import_module(f"tests.benchmarks.bench_{name}").main() is False:
            missed.append(name)
        print(f"   ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"missed their limit: {', '.join(missed)}" if missed else "every limit held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
