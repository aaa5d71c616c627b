#!/usr/bin/env python3
"""Load generators beside each other, on one nginx with one worker: throughput and processor time of each request.

Interleaved: each round runs every generator once, beginning with another one, so that what the machine does meanwhile it does to all. A generator
that is not installed is left out, and said so. Needs nginx; compares `unbroken load` with wrk, h2load, oha and hey where they are. Before that, as
the machine is to be idle, an open loop of 10 000 requests a second, five times: how late it is by its own fault, what it costs, what the machine does
meanwhile, and how much of a processor was taken away right before from who used it.

    cargo build --release
    python3 benches/generators.py --rounds 9 --seconds 3 > docs/results/generators.json
"""

import argparse
import contextlib
import glob
import json
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CONF = """
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "ok"; }} }}
}}
"""


@contextlib.contextmanager
def with_nginx():
    """Where an nginx of our own answers, until its block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as place:
        conf = os.path.join(place, "nginx.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(CONF.format(dir=place, port=port, user="user root;" if os.geteuid() == 0 else ""))
        nginx = subprocess.Popen(["nginx", "-p", place, "-c", conf], stderr=subprocess.DEVNULL)
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if nginx.poll() is not None:
                    sys.exit("nginx did not start")
            yield f"http://127.0.0.1:{port}/"
        finally:
            nginx.terminate()
            nginx.wait()


def commands(url, seconds, connections, unbroken):
    """name -> (kept connections, a connection for each request, the same from eight addresses); None where it cannot do that."""
    c, s = str(connections), str(seconds)
    ours = [unbroken, "load", url, "--connections", c, "--duration", f"{s}s", "--json", "--progress", "none"]
    return {
        "unbroken": (ours, [*ours, "--fresh"], [*ours, "--fresh", "--sources", "8"]),
        # oha uses what processors there are; wrk, h2load and hey are told to use one.
        "unbroken, 2 threads": (
            [*ours, "--threads", "2"],
            [*ours, "--fresh", "--threads", "2"],
            [*ours, "--fresh", "--threads", "2", "--sources", "8"],
        ),
        "wrk": (
            ["wrk", "-t1", f"-c{c}", f"-d{s}s", url],
            ["wrk", "-t1", f"-c{c}", f"-d{s}s", "-H", "Connection: close", url],
            None,
        ),
        "h2load": (["h2load", "--h1", "-t1", f"-c{c}", f"-D{s}", url], None, None),
        "oha": (
            ["oha", "--no-tui", "--output-format", "json", "-c", c, "-z", f"{s}s", url],
            ["oha", "--no-tui", "--output-format", "json", "-c", c, "-z", f"{s}s", "--disable-keepalive", url],
            None,
        ),
        "hey": (
            ["hey", "-cpus", "1", "-c", c, "-z", f"{s}s", url],
            ["hey", "-cpus", "1", "-c", c, "-z", f"{s}s", "-disable-keepalive", url],
            None,
        ),
    }


def is_ours(name):
    """The driver of this project, on one thread or on several."""
    return name.startswith("unbroken")


def rate(name, text):
    """Answered requests a second, as the generator says."""
    if is_ours(name):
        result = json.loads(text)["result"]
        return result["answered"] / (result["took"] / 1e9)
    if name == "oha":
        return json.loads(text)["summary"]["requestsPerSec"]
    found = re.search(r"(?:Requests/sec:|finished in [^,]*,)\s*([0-9.]+)", text)
    return float(found.group(1))


def measured(command, name):
    """(requests a second, microseconds of processor for each)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    per_second = rate(name, done.stdout)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return per_second, processor / (per_second * took) * 1e6


OPEN_LOOP_RATE = 10_000
OPEN_LOOP_ROUNDS = 5
# A loop that reads the clock takes less than a microsecond for it in Python; whoever does not run for this long has been interrupted.
INTERRUPTED_NS = 100_000


def open_loop(it, url):
    """Lateness of the schedule (microseconds), and shares of one processor: the driver's, of all that ran beside it, nginx included, and what was
    taken away before it began."""
    command = [it.unbroken, "load", url, "--rate", str(OPEN_LOOP_RATE), "--connections", str(it.connections)]
    command += ["--duration", f"{it.seconds}s", "--json", "--progress", "none"]
    rows = []
    for _ in range(OPEN_LOOP_ROUNDS):
        taken, longest = taken_away()
        before, began = run_times(), time.monotonic()
        result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["result"]
        took, after = time.monotonic() - began, run_times()
        beside = sum(ran - before.get(task, 0) for task, ran in after.items()) / 1e9
        driver = result["processor"] / 1e9
        rows.append(
            {
                "answered": result["answered"],
                "lateness_p50_us": result["lateness"]["p50"] / 1e3,
                "lateness_p99_us": result["lateness"]["p99"] / 1e3,
                "driver_share": round(driver / took, 3),
                "beside_share": round(beside / took, 3),
                "taken_away_share": taken,
                "taken_away_longest_us": longest,
            }
        )
        print(f"open loop: {rows[-1]}", file=sys.stderr)
    spread = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        spread[key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {"rate": OPEN_LOOP_RATE, "rounds": OPEN_LOOP_ROUNDS, **spread}


def taken_away():
    """(share of a second, longest piece in microseconds) for which a loop that only reads the clock did not run.

    Other tasks are a part of it, and so is what a host gives to other virtual machines: that may be in no counter here ("steal" stays 0).
    """
    pieces = []
    last = time.perf_counter_ns()
    end = last + 1_000_000_000
    while last < end:
        now = time.perf_counter_ns()
        if now - last >= INTERRUPTED_NS:
            pieces.append(now - last)
        last = now
    return round(sum(pieces) / 1e9, 4), max(pieces, default=0) / 1e3


def run_times():
    """Nanoseconds that each task of the machine has run (/proc/PID/task/TID/schedstat). /proc/stat counts ticks, and misses who sleeps over them."""
    times = {}
    for path in glob.glob("/proc/[0-9]*/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as file:
                times[path] = int(file.read().split()[0])
        except (OSError, IndexError):
            pass  # It has ended.
    return times


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--seconds", type=int, default=3)
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--unbroken", default="target/release/unbroken")
    arguments.add_argument("--commit", default=os.environ.get("UNBROKEN_COMMIT"))
    it = arguments.parse_args()
    with with_nginx() as url:
        paced = open_loop(it, url)
        json.dump({**compared(it, url), "open_loop": paced}, sys.stdout, indent=2)
        print()


def compared(it, url):
    """Medians of all rounds, and ratios to wrk's."""
    every = commands(url, it.seconds, it.connections, it.unbroken)
    there = {name: both for name, both in every.items() if is_ours(name) or shutil.which(name)}
    lacking = [name for name in every if name not in there]
    samples = {}
    for round_ in range(it.rounds):
        names = list(there)
        names = names[round_ % len(names) :] + names[: round_ % len(names)]
        for name in names:
            for kind, command in zip(("kept", "fresh", "fresh, from 8 addresses"), there[name]):
                if command:
                    samples.setdefault((kind, name), []).append(measured(command, name))
                    print(f"round {round_ + 1} {kind} {name}: {samples[kind, name][-1]}", file=sys.stderr)
    rows = []
    for (kind, name), values in sorted(samples.items()):
        rates, costs = [v[0] for v in values], [v[1] for v in values]
        row = {
            "connections": kind,
            "generator": name,
            "per_second": {"median": statistics.median(rates), "min": min(rates), "max": max(rates)},
            "processor_us": {"median": statistics.median(costs), "min": min(costs), "max": max(costs)},
        }
        for other in ("wrk", "h2load", "oha", "hey"):
            if (kind, other) in samples and other != name:
                theirs = samples[kind, other]
                row.setdefault("against", {})[other] = {
                    "per_second": round(row["per_second"]["median"] / statistics.median(v[0] for v in theirs), 3),
                    "processor": round(row["processor_us"]["median"] / statistics.median(v[1] for v in theirs), 3),
                }
        rows.append(row)
    return {
        "format": 1,
        "commit": it.commit,
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "rounds": it.rounds,
        "seconds": it.seconds,
        "connections": it.connections,
        "lacking": lacking,
        "rows": rows,
    }


if __name__ == "__main__":
    main()
