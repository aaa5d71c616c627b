#!/usr/bin/env python3
"""What load generators say of the same restarts, beside what the kernel counted: nginx with one worker, reloaded under busy connections.

Each restart is one run of one generator, in turn: reloaded (HUP) in its middle, the kernel's counters read right before and when the old
worker is gone. nginx closes idle connections then, and a request that was on its way is lost: TCPAbortOnClose counts those that lay unread
in the server's queue, TCPAbortOnData those that crossed its FIN. `unbroken load` has to report as many `unread` and `crossed`, restart by
restart, and nothing else. reqwest, a client that applications use, is driven by `unbroken load --application`. Runs in a network namespace of
its own (root): nobody else's connections are in the counters.

    cargo build --release
    python3 benches/truth.py --restarts 20 > docs/results/truth.json
"""

import argparse
import fcntl
import json
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from generators import CONF, commands, is_ours

COUNTERS = ("TCPAbortOnClose", "TCPAbortOnData")
# For so long a generator runs, and when in it nginx is told to reload.
SECONDS, RELOAD_AT = 2, 0.7


def loopback_up():
    """A new network namespace has a loopback interface that is down (netdevice(7), SIOCSIFFLAGS)."""
    up_and_running = 0x1 | 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", up_and_running))


def counters():
    """Those of this network namespace."""
    with open("/proc/self/net/netstat", encoding="ascii") as file:
        names, values = [line.split()[1:] for line in file if line.startswith("TcpExt:")]
    there = dict(zip(names, map(int, values)))
    return [there[name] for name in COUNTERS]


def workers(master):
    with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as file:
        return set(file.read().split())


def reported(name, text):
    """Lost requests by the generator's own words, and what it calls them."""
    if is_ours(name):
        return json.loads(text)["result"]["failed"]
    if name == "reqwest":
        return json.loads(text)["application"]["failed"]
    if name == "oha":
        # Those that it gives up at its own end are nobody's loss.
        errors = json.loads(text)["errorDistribution"]
        return {what: count for what, count in errors.items() if "deadline" not in what}
    if name == "wrk":
        found = re.search(r"Socket errors: (.*)", text)
        pairs = re.findall(r"(\w+) (\d+)", found.group(1)) if found else []
    elif name == "h2load":
        pairs = [(what, count) for count, what in re.findall(r"(\d+) (failed|errored|timeout)", text)]
    else:
        # `[200] 5 responses` counts answers by their status, `[5] Get …: EOF` errors by what they say.
        found = re.findall(r"^\s*\[(\d+)\]\s+(.*)$", text, re.M)
        pairs = [(what.strip(), count) for count, what in found if not what.endswith("responses")]
    return {what: int(count) for what, count in pairs if int(count)}


def restarted(command, master):
    """One run of a generator with one reload: what it printed, and what the kernel counted meanwhile."""
    generator = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(RELOAD_AT)
    before, old = counters(), workers(master)
    os.kill(master, signal.SIGHUP)
    while old & workers(master) or not workers(master):
        time.sleep(0.002)
    counted = [after - earlier for earlier, after in zip(before, counters())]
    return generator.communicate()[0], counted


def application(it, url):
    """The client of applications, beside one connection of ours, which has to be there."""
    ours = ["--connections", "1", "--rate", "20", "--duration", f"{SECONDS}s", "--json", "--progress", "none"]
    return [it.unbroken, "load", url, "--application", str(it.connections), *ours]


def without_ours(counted, text):
    """What the kernel counted, less what was lost of that one connection."""
    failed = json.loads(text)["result"]["failed"]
    return [counted[0] - failed.get("unread", 0), counted[1] - failed.get("crossed", 0)]


def told(it, master, url):
    every = {name: both[0] for name, both in commands(url, SECONDS, it.connections, it.unbroken).items()}
    every["reqwest"] = application(it, url)
    there = {name: command for name, command in every.items() if command[0] == it.unbroken or shutil.which(name)}
    rows = {name: {"generator": name, "restarts": 0, "counted": dict.fromkeys(COUNTERS, 0), "reported": {}} for name in there}
    for name in filter(is_ours, there):
        rows[name]["agrees"] = 0
    for nth in range(it.restarts):
        for name, command in there.items():
            text, counted = restarted(command, master)
            counted = without_ours(counted, text) if name == "reqwest" else counted
            row, lost = rows[name], reported(name, text)
            row["restarts"] += 1
            for counter, count in zip(COUNTERS, counted):
                row["counted"][counter] += count
            for what, count in lost.items():
                row["reported"][what] = row["reported"].get(what, 0) + count
            if is_ours(name):
                known = {"unread": counted[0], "crossed": counted[1]}
                row["agrees"] += lost == {what: count for what, count in known.items() if count}
            print(f"restart {nth + 1} {name}: kernel {counted}, reported {lost}", file=sys.stderr)
    return {
        "format": 1,
        "commit": it.commit,
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "connections": it.connections,
        "lacking": [name for name in every if name not in there],
        "rows": list(rows.values()),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--restarts", type=int, default=20)
    arguments.add_argument("--connections", type=int, default=64)
    arguments.add_argument("--unbroken", default="target/release/unbroken")
    arguments.add_argument("--commit", default=os.environ.get("UNBROKEN_COMMIT"))
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    it = arguments.parse_args()
    if not it.inside:
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv, "--inside"])
    loopback_up()
    with tempfile.TemporaryDirectory() as place:
        conf = os.path.join(place, "nginx.conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(CONF.format(dir=place, port=8080, user="user root;" if os.geteuid() == 0 else ""))
        nginx = subprocess.Popen(["nginx", "-p", place, "-c", conf], stderr=subprocess.DEVNULL)
        try:
            while not workers(nginx.pid):
                if nginx.poll() is not None:
                    sys.exit("nginx did not start")
            json.dump(told(it, nginx.pid, "http://127.0.0.1:8080/"), sys.stdout, indent=2)
            print()
        finally:
            nginx.terminate()
            nginx.wait()


if __name__ == "__main__":
    main()
