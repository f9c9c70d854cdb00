#!/usr/bin/env python3
"""Start-up figures of edgectl beside peers, in one run: ratios are what counts, since machines differ.

Usage: benches/start.py PATH-TO-edgectl [ROUNDS]

Needs mosquitto and mosquitto-clients (Debian packages of these names) for the peers. Prints a table in Markdown.
"""
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

EDGECTL = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 15


def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(*command, cwd=None):
    """Wall and CPU seconds of a command."""
    cpu, wall = spent(), time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - wall, spent() - cpu


def scaffold(place, template):
    """Wall seconds for a new solution from a template."""
    name = os.path.join(place, "made")
    shutil.rmtree(name, ignore_errors=True)
    return run(EDGECTL, "new", "made", *template, cwd=place)[0]


def median(samples):
    return statistics.median(samples) * 1000, min(samples) * 1000, max(samples) * 1000


def mosquitto(directory):
    """Seconds until mosquitto listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.path.join(directory, "mosquitto.conf")
    with open(path, "w") as file:
        file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    begin = time.perf_counter()
    server = subprocess.Popen(["mosquitto", "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return time.perf_counter() - begin
            except OSError:
                time.sleep(0.0005)
    finally:
        server.terminate()
        server.wait()


def resident(process):
    with open(f"/proc/{process}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def device(solution):
    """Seconds to a device that listens, to the first routed message in the cloud from there, and idle memory."""
    shutil.rmtree(os.path.join(solution, ".edgectl"), ignore_errors=True)
    begin = time.perf_counter()
    subprocess.run([EDGECTL, "sim", "up", "-d"], cwd=solution, check=True, stdout=subprocess.DEVNULL)
    ready = time.perf_counter()
    with open(os.path.join(solution, ".edgectl/device/lock")) as file:
        memory = resident(int(file.read()))
    subprocess.run([EDGECTL, "deploy", "--no-wait"], cwd=solution, check=True, stdout=subprocess.DEVNULL)
    events = [EDGECTL, "events", "-f", "--count", "1"]
    subprocess.run(events, cwd=solution, check=True, stdout=subprocess.DEVNULL)
    message = time.perf_counter()
    down, _ = run(EDGECTL, "sim", "down", cwd=solution)
    return ready - begin, message - begin, memory, down


def main():
    rows = []
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([EDGECTL, "new", "plant", "--no-module"], cwd=place, check=True, stdout=subprocess.DEVNULL)
        solution = os.path.join(place, "plant")
        path = os.path.join(solution, "deployment.template.json")
        with open(path) as file:
            template = json.load(file)
        template["modulesContent"]["$edgeHub"]["properties.desired"]["routes"] = {
            "all": "FROM /messages/* INTO $upstream"
        }
        with open(path, "w") as file:
            json.dump(template, file)
        helps, peers, pythons, ups, brokers, firsts, memories, downs = ([] for _ in range(8))
        cpu_help, cpu_version, modules, cases = [], [], [], []
        for _ in range(ROUNDS):
            wall, cpu = run(EDGECTL, "--help")
            helps.append(wall)
            cpu_help.append(cpu)
            cpu_version.append(run(EDGECTL, "--version")[1])
            peers.append(run("true")[0])
            pythons.append(run(sys.executable, "-c", "pass")[0])
            modules.append(scaffold(place, ["--lang", "rust"]))
            cases.append(scaffold(place, ["--from", "industrial"]))
            brokers.append(mosquitto(place))
            up, first, memory, down = device(solution)
            ups.append(up)
            firsts.append(first)
            memories.append(memory)
            downs.append(down)
        rows.append(("`edgectl --help`, wall", median(helps), "a process that does nothing", median(peers)))
        rows.append(("`edgectl --help`, CPU", median(cpu_help), "", None))
        rows.append(("`edgectl --version`, CPU", median(cpu_version), "`python3 -c pass`, wall", median(pythons)))
        rows.append(("`edgectl new --lang rust`: 23 files", median(modules), "", None))
        rows.append(("`edgectl new --from industrial`: 27 files", median(cases), "", None))
        rows.append(("`sim up -d`: two hubs, agent, certificates, ready", median(ups), "mosquitto, listening", median(brokers)))
        rows.append(("`sim up`, `deploy`, first routed message in the cloud", median(firsts), "", None))
        rows.append(("`sim down`", median(downs), "", None))
    print("| what | median ms [min..max] | beside it | median ms [min..max] | ratio |")
    print("|---|---|---|---|---|")
    for what, own, peer, other in rows:
        own_text = f"{own[0]:.1f} [{own[1]:.1f}..{own[2]:.1f}]"
        other_text = f"{other[0]:.1f} [{other[1]:.1f}..{other[2]:.1f}]" if other else ""
        ratio = f"{own[0] / other[0]:.1f}" if other else ""
        print(f"| {what} | {own_text} | {peer} | {other_text} | {ratio} |")
    print(f"\nIdle device, resident: {statistics.median(memories):.0f} MiB [{min(memories):.0f}..{max(memories):.0f}]")


if __name__ == "__main__":
    main()
