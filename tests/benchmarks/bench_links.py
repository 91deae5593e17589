"""How long 1,000,000 unique participant links take as a CSV stream, and in what memory, beside the bare hashes."""

import csv
import hashlib
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable

LINKS = 1_000_000
LIMIT_SECONDS = 15.0


class Sink:
    """A file that keeps nothing but the number of characters written."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, text: str) -> int:
        self.size += len(text)
        return len(text)


def write_links(count: int) -> None:
    """The file that a run of kind conversation_links writes, into nowhere."""
    from chalicelib.conversations import pid

    writer = csv.writer(Sink(), lineterminator="\n")
    writer.writerow(("link", "pid"))
    pid_key = pid.key(bytes(range(32)), 1, "demo", "cnv_1")
    writer.writerows(pid.link_rows(pid_key, count, "https://panel.example", "k3x9"))


def hash_only(count: int) -> None:
    """The two keyed hashes that each pid needs, and nothing else."""
    secret = bytes(range(32))
    for index in range(count):
        tag = hashlib.blake2b(index.to_bytes(5), key=secret, digest_size=10).digest()
        hashlib.blake2b(tag, key=secret, digest_size=5).digest()


def seconds(work: Callable[[int], None], count: int) -> tuple[float, float]:
    """Wall and processor time; the ratio is of the latter, which a busy machine distorts less."""
    wall, processor = time.perf_counter(), time.process_time()
    work(count)
    return time.perf_counter() - wall, time.process_time() - processor


def peak_bytes(count: int) -> int:
    """The most memory that Python objects took at once, past what was there before."""
    tracemalloc.start()
    write_links(count)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def resident_growth_kb(count: int) -> int:
    """How far a fresh process's resident peak grows while it writes that many links."""
    script = (
        "import resource, sys; from tests.benchmarks.bench_links import write_links;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "write_links(10); before = peak(); write_links(int(sys.argv[1])); print(peak() - before)"
    )
    return int(subprocess.run([sys.executable, "-c", script, str(count)], check=True, capture_output=True).stdout)


def main() -> None:
    """Measure, print one JSON line, and exit with 1 past the limit."""
    _, bare = min(seconds(hash_only, LINKS) for _ in range(2))
    links, processor = min(seconds(write_links, LINKS) for _ in range(2))
    report = {
        "links": LINKS,
        "seconds": round(links, 2),
        "limit_seconds": LIMIT_SECONDS,
        "processor_seconds": round(processor, 2),
        "bare_hash_processor_seconds": round(bare, 2),
        "ratio_to_bare_hashes": round(processor / bare, 2),
        "links_per_second": round(LINKS / links),
        "peak_object_bytes_of_1000": peak_bytes(1_000),
        "peak_object_bytes_of_100000": peak_bytes(100_000),
        "resident_growth_kb_of_1000000": resident_growth_kb(LINKS),
    }
    print(json.dumps(report, indent=2))
    sys.exit(links > LIMIT_SECONDS)


if __name__ == "__main__":
    main()
