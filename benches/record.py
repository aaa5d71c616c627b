#!/usr/bin/env python3
"""What it takes to keep every request of a load: memory of the driver, bytes of the file, and the time in which it is judged.

`unbroken load --record` at a rate against nginx with one worker, and `unbroken judge` of the file, several times.

    cargo build --release
    python3 benches/record.py --runs 3 > docs/results/record.json
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from generators import with_nginx


def finished(command):
    """What a command printed, how long it took (s), and the most memory that it had (MB)."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)}: {process.stderr.read()}")
    return out, took, usage.ru_maxrss * 1024 / 1e6


def one(it, url, file):
    pace = ["--rate", str(it.rate), "--duration", f"{it.seconds}s", "--connections", str(it.connections)]
    load = [it.unbroken, "load", url, *pace, "--record", file, "--json", "--progress", "none"]
    out, _, memory = finished(load)
    result = json.loads(out)["result"]
    judged, took, judging = finished([it.unbroken, "judge", file, "--json"])
    if json.loads(judged)["result"] != result:
        sys.exit("what was judged is not what was measured")
    row = {
        "answered": result["answered"],
        "lost": sum(result["failed"].values()),
        "lateness_p50_us": result["lateness"]["p50"] / 1e3,
        "lateness_p99_us": result["lateness"]["p99"] / 1e3,
        "load_mb": round(memory, 1),
        "bytes_per_request": round(os.path.getsize(file) / result["answered"], 2),
        "judged_in_s": round(took, 2),
        "judge_mb": round(judging, 1),
    }
    print(row, file=sys.stderr)
    return row


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--rate", type=int, default=20000)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--unbroken", default="target/release/unbroken")
    arguments.add_argument("--commit", default=os.environ.get("UNBROKEN_COMMIT"))
    it = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place, with_nginx() as url:
        runs = [one(it, url, os.path.join(place, "run.load")) for _ in range(it.runs)]
    report = {
        "format": 1,
        "commit": it.commit,
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "rate": it.rate,
        "seconds": it.seconds,
        "connections": it.connections,
        "medians": {name: statistics.median(run[name] for run in runs) for name in runs[0]},
        "runs": runs,
    }
    json.dump(report, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
