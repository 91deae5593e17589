"""How long a run of 1,000,000 unique participant links takes, and in what memory, beside the bare hashes of as many.

`run` is everything that a worker does but the upload: pids through a file into DuckDB, the table `result`, the CSV,
its digest. `streamed` is the same links written one at a time by Python's csv module; `hashes` the two keyed hashes
that each pid needs, and nothing else.
"""

import csv
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LINKS = 1_000_000
FEW = 10_000
LIMIT_SECONDS = 15.0
# What DuckDB is given; past it, it goes to disk. A worker gives it 2 GB: here it is little, to see what else grows.
MEMORY = "128MB"
LIMIT_GROWTH_MB = 150


class Sink:
    """A file that keeps nothing but its size and digest."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.digest.update(data)


class TextSink:
    """A file of text that keeps nothing but its size."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, text: str) -> int:
        self.size += len(text)
        return len(text)


def run(count: int) -> str:
    """Carry out a run's work; the digest of its file."""
    from chalicelib.conversations import pid, tables
    from chalicelib.datasets import conversation_links
    from chalicelib.files import csv_file
    from chalicelib.files.contract import Rendering
    from chalicelib.lake import views

    sink = Sink()
    key = pid.key(bytes(range(32)), 1, "demo", "cnv_1")
    table = conversation_links.table(pid.link("https://panel.example", "k3x9a2b7c4", ""))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with views.connection(folder, MEMORY) as con:
            tables.put_issued(con, folder, key, count)
            con.execute(f"CREATE TEMP TABLE result AS {table.sql}", table.parameters)
            csv_file.write(Rendering(con, table.columns, csv_file.CsvOptions(), "UTC", folder, sink))
    return sink.digest.hexdigest()


def streamed(count: int) -> None:
    """The links, one at a time, into nowhere."""
    from chalicelib.conversations import pid

    writer = csv.writer(TextSink(), lineterminator="\n")
    writer.writerow(("link", "pid"))
    key = pid.key(bytes(range(32)), 1, "demo", "cnv_1")
    writer.writerows(pid.link_rows(key, count, "https://panel.example", "k3x9a2b7c4"))


def hashes(count: int) -> None:
    """The two keyed hashes of each pid."""
    secret = bytes(range(32))
    for index in range(count):
        tag = hashlib.blake2b(index.to_bytes(5), key=secret, digest_size=10).digest()
        hashlib.blake2b(tag, key=secret, digest_size=5).digest()


WORK: dict[str, Callable[[int], object]] = {"run": run, "streamed": streamed, "hashes": hashes}


def measured(name: str, count: int) -> dict[str, float]:
    """Wall and processor seconds, and the resident peak in MB, of a fresh process that does the work."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_links", name, str(count)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def once(name: str, count: int) -> None:
    """Do the work here and print what it took. The first few links pay for the imports."""
    WORK[name](10)
    wall, processor = time.perf_counter(), time.process_time()
    WORK[name](count)
    took = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    print(json.dumps({**took, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> bool:
    """Measure and print; whether the limits held."""
    few, whole = measured("run", FEW), measured("run", LINKS)
    peers = {name: measured(name, LINKS) for name in ("streamed", "hashes")}
    growth = whole["peak_mb"] - few["peak_mb"]
    print(
        f"{LINKS:,} links: {whole['seconds']:.1f} s (limit {LIMIT_SECONDS:.0f}), {LINKS / whole['seconds']:,.0f} a second"
    )
    for name, peer in peers.items():
        print(f"  processor time beside {name}: {whole['processor'] / peer['processor']:.2f}x")
    print(
        f"  resident peak {whole['peak_mb']:.0f} MB, {growth:+.0f} MB against {FEW:,} links (limit {LIMIT_GROWTH_MB})"
    )
    return whole["seconds"] <= LIMIT_SECONDS and growth <= LIMIT_GROWTH_MB


if __name__ == "__main__":
    if len(sys.argv) == 3:
        once(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(not main())
