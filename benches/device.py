#!/usr/bin/env python3
"""A device with modules: how long until ten of them run, what it uses when nothing happens, and how long a container takes
to start beside `docker run`.

Usage: benches/device.py PATH-TO-edgectl [ROUNDS]

The containers need an engine (`DOCKER_HOST` or its usual socket); without one that row is left out, which is said. Its image is
made here from edgectl itself, so nothing is pulled. Prints a table in Markdown.
"""
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

EDGECTL = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
SENSOR = "mcr.microsoft.com/azureiotedge-simulated-temperature-sensor:1.0"
IDLE_SECONDS = 20


def edgectl(*arguments, cwd):
    done = subprocess.run([EDGECTL, *arguments], cwd=cwd, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout


def own_time(process):
    """Seconds of CPU that a process used."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(process):
    with open(f"/proc/{process}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def solution(place, name, modules):
    edgectl("new", name, "--no-module", cwd=place)
    folder = os.path.join(place, name)
    path = os.path.join(folder, "deployment.template.json")
    with open(path) as file:
        template = json.load(file)
    content = template["modulesContent"]
    content["$edgeAgent"]["properties.desired"]["modules"] = modules
    content["$edgeHub"]["properties.desired"]["routes"] = {}
    with open(path, "w") as file:
        json.dump(template, file)
    return folder


def module(image, **options):
    return {
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        # One message, and then silence.
        "env": {"MessageCount": {"value": "1"}},
        "settings": {"image": image, "createOptions": options},
    }


def running(folder):
    modules = json.loads(edgectl("status", "--json", cwd=folder))["modules"]
    return sum(module["status"] == "running" for module in modules)


def ten_modules(folder):
    """Seconds from `deploy` to its end, which comes when all modules run."""
    shutil.rmtree(os.path.join(folder, ".edgectl"), ignore_errors=True)
    edgectl("sim", "up", "-d", cwd=folder)
    begin = time.perf_counter()
    edgectl("deploy", cwd=folder)
    taken = time.perf_counter() - begin
    assert running(folder) == 10, "deploy ended too early"
    return taken


def device_process(folder):
    with open(os.path.join(folder, ".edgectl/device/lock")) as file:
        return int(file.read())


def show(samples, unit=1000.0):
    low, high = min(samples) * unit, max(samples) * unit
    return f"{statistics.median(samples) * unit:.1f} [{low:.1f}..{high:.1f}]"


def make_image(place):
    """An image with nothing but a static program that sleeps."""
    source = os.path.join(place, "sleep.c")
    with open(source, "w") as file:
        # The first process of a container does not end on a signal that it does not handle.
        file.write(
            "#include <signal.h>\n#include <unistd.h>\nstatic void end(int n) { _exit(n - n); }\n"
            "int main(void) { signal(SIGTERM, end); for (;;) pause(); }\n"
        )
    subprocess.run(["cc", "-static", "-O2", "-o", os.path.join(place, "sleep"), source], check=True)
    with open(os.path.join(place, "Dockerfile"), "w") as file:
        file.write('FROM scratch\nCOPY sleep /sleep\nENTRYPOINT ["/sleep"]\n')
    subprocess.run(["docker", "build", "-q", "-t", "edgectl-bench/sleep:1", place], check=True, stdout=subprocess.DEVNULL)


def started(container, begin):
    """Seconds from a time until the engine started a container, as it says itself."""
    inspect = ["docker", "inspect", "-f", "{{.State.StartedAt}}", container]
    text = subprocess.run(inspect, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    day, fraction = text.rstrip("Z").split(".")
    whole = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.timezone.utc).timestamp()
    return whole + float(f"0.{fraction}") - begin


def containers(place):
    """Seconds from `deploy`, and from `docker run -d`, until the engine has started a container."""
    make_image(place)
    folder = solution(place, "contained", {"one": module("edgectl-bench/sleep:1", HostConfig={"NetworkMode": "none"})})
    ours, theirs = [], []
    for _ in range(ROUNDS):
        begin = time.time()
        run = ["docker", "run", "-d", "--network", "none", "--name", "edgectl-bench-peer", "edgectl-bench/sleep:1"]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        theirs.append(started("edgectl-bench-peer", begin))
        subprocess.run(["docker", "rm", "-f", "edgectl-bench-peer"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(os.path.join(folder, ".edgectl"), ignore_errors=True)
        edgectl("sim", "up", "-d", "--runtime", "docker", cwd=folder)
        begin = time.time()
        edgectl("deploy", cwd=folder)
        of_ours = ["docker", "ps", "-q", "--filter", "ancestor=edgectl-bench/sleep:1"]
        ours.append(started(subprocess.run(of_ours, check=True, stdout=subprocess.PIPE, text=True).stdout.strip(), begin))
        edgectl("sim", "down", cwd=folder)
    return ours, theirs


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = solution(place, "ten", {f"m{number}": module(SENSOR) for number in range(10)})
        times = []
        for _ in range(ROUNDS):
            times.append(ten_modules(folder))
            edgectl("sim", "down", cwd=folder)
        print("| what | figure |\n|---|---|")
        print(f"| `deploy` until ten process modules run | {show(times)} ms |")
        edgectl("sim", "up", "-d", cwd=folder)
        process = device_process(folder)
        memory = resident(process)
        time.sleep(2)
        before = own_time(process)
        time.sleep(IDLE_SECONDS)
        print(f"| idle device without modules | {memory:.1f} MiB, {(own_time(process) - before) / IDLE_SECONDS * 100:.2f} % of a core |")
        edgectl("deploy", cwd=folder)
        time.sleep(2)
        before = own_time(process)
        time.sleep(IDLE_SECONDS)
        used = (own_time(process) - before) / IDLE_SECONDS * 100
        print(f"| the same with ten silent modules | {resident(process):.1f} MiB, {used:.2f} % of a core |")
        edgectl("sim", "down", cwd=folder)
        if shutil.which("docker") and subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
            ours, theirs = containers(place)
            ratio = statistics.median(a / b for a, b in zip(ours, theirs))
            print(f"| from `deploy` to a started container | {show(ours)} ms |")
            print(f"| the same from `docker run -d` | {show(theirs)} ms; `deploy` takes {ratio:.2f} times that |")
        else:
            print("no container engine answers: containers are not measured", file=sys.stderr)


if __name__ == "__main__":
    main()
