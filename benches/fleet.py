#!/usr/bin/env python3
"""A fleet of many devices in one process: how long until all run, until a deployment runs on all, and what they use.

Usage: benches/fleet.py PATH-TO-edgectl [DEVICES]

The deployment is that of a new solution: a sensor and a filter for each device; the filter hands on what the sensor sends, so each
device brings a message to the cloud every ten seconds. Prints a table in Markdown.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

EDGECTL = os.path.abspath(sys.argv[1])
DEVICES = sys.argv[2] if len(sys.argv) > 2 else "1000"
SECONDS = 60


def edgectl(*arguments, cwd):
    done = subprocess.run([EDGECTL, *arguments], cwd=cwd, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout


def timed(*arguments, cwd):
    begin = time.perf_counter()
    edgectl(*arguments, cwd=cwd)
    return (time.perf_counter() - begin) * 1000


def used(process):
    """Seconds of CPU that a process used."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process):
    with open(f"/proc/{process}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def main():
    with tempfile.TemporaryDirectory() as place:
        edgectl("new", "plant", "--module", "filter", "--lang", "python", cwd=place)
        folder = os.path.join(place, "plant")
        up = timed("fleet", "up", "--devices", DEVICES, "-d", cwd=folder)
        with open(os.path.join(folder, ".edgectl/device-fleet/lock")) as file:
            process = int(file.read())
        empty = resident(process)
        deploy = ("deploy", "--configuration", "base", "--target-condition", "*", "--timeout", "300")
        taken = timed("--device", "fleet", *deploy, cwd=folder)
        # All have sent once before it is measured.
        time.sleep(15)
        before = used(process)
        first = json.loads(edgectl("fleet", "status", "--json", cwd=folder))
        time.sleep(SECONDS)
        busy = (used(process) - before) / SECONDS * 100
        last = json.loads(edgectl("fleet", "status", "--json", cwd=folder))
        messages = (last["receivedByCloud"] - first["receivedByCloud"]) / SECONDS
        memory = resident(process)
        status = timed("fleet", "status", cwd=folder)
        down = timed("fleet", "down", cwd=folder)
    print(f"| {DEVICES} devices | |\n|---|---|")
    print(f"| `fleet up -d`: all connected | {up:.0f} ms, {empty:.0f} MiB |")
    print(f"| `deploy --configuration` until all have done it | {taken:.0f} ms |")
    print(f"| {last['modulesRunning']} modules, {messages:.0f} messages a second in the cloud | {busy:.1f} % of a core, {memory:.0f} MiB |")
    print(f"| `fleet status` | {status:.0f} ms |")
    print(f"| `fleet down` | {down:.0f} ms |")


if __name__ == "__main__":
    main()
