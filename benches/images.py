#!/usr/bin/env python3
"""What an image costs: edgectl beside a container engine, in turn, on the same files.

benches/images.py EDGECTL [ROUNDS]; needs docker with an engine, and Debian's docker-registry.
"""

import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

EDGECTL = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 7
SIZE = 5 * 1024 * 1024


def run(*command, cwd):
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took = (time.perf_counter() - started) * 1000
    if done.returncode:
        sys.exit(f"{command}: {done.stderr.decode()}")
    return took


def told(name, times):
    print(f"| {name} | {statistics.median(times):.1f} [{min(times):.1f}..{max(times):.1f}] |")
    return statistics.median(times)


def solution(root, names, registry, size):
    """Modules of one file that is compiled already: nothing is measured but making, keeping and sending images."""
    modules = {}
    for name in names:
        place = root / "modules" / name
        place.mkdir(parents=True)
        platforms = {"amd64": "./none", "arm64v8": "./none", "arm32v7": "./none"}
        image = {"repository": f"{registry}/{name}", "tag": {"version": "1", "platforms": platforms}}
        module = {"language": "python", "image": image, "edgectl": {"base": "scratch"}}
        (place / "module.json").write_text(json.dumps(module))
        (place / "main.py").write_text("pass\n")
        if size:
            change(place / "program", size)
        modules[name] = {"settings": {"image": "${MODULES.%s}" % name}}
    content = {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": modules}}}}
    (root / "deployment.template.json").write_text(json.dumps(content))


def change(path, size):
    """A part of a real program, and a number at its end that makes it another one."""
    with open(EDGECTL, "rb") as program:
        program.seek(size)
        path.write_bytes(program.read(size - 8) + random.randbytes(8))


def rounds(prepare, *command, cwd):
    times = []
    for _ in range(ROUNDS):
        prepare()
        times.append(run(*command, cwd=cwd))
    return times


def main():
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as data:
        place = pathlib.Path(place)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = pathlib.Path(data) / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {data} }} }}\n"
            f'http: {{ addr: "127.0.0.1:{port}" }}\n'
        )
        registry = subprocess.Popen(
            ["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            measure(place, f"localhost:{port}")
        finally:
            registry.kill()


def measure(place, registry):
    one, ten = place / "one", place / "ten"
    solution(one, ["module"], registry, SIZE)
    solution(ten, [f"module{number}" for number in range(10)], registry, 100_000)
    program = one / "modules/module/program"
    docker = place / "docker"
    docker.mkdir()
    (docker / "Dockerfile").write_text("FROM scratch\nCOPY program /program\n")
    name = f"{registry}/beside:1"
    build = ("docker", "build", "-q", "--no-cache", "-t", name, ".")
    run(EDGECTL, "build", "--image", cwd=one)
    change(docker / "program", SIZE)
    run(*build, cwd=docker)

    print("| what | median ms [min..max] |\n|---|---|")
    ours = told("an image of 5 MiB", rounds(lambda: change(program, SIZE), EDGECTL, "build", "--image", cwd=one))
    theirs = told("`docker build --no-cache`", rounds(lambda: change(docker / "program", SIZE), *build, cwd=docker))
    print(f"| ratio | {theirs / ours:.1f} |")
    far, there = place / "far", "registry.example.com"
    solution(far, ["module"], there, SIZE)
    run(EDGECTL, "build", "--image", cwd=far)
    elsewhere = far / "modules/module/program"
    ours = told("one for a registry elsewhere", rounds(lambda: change(elsewhere, SIZE), EDGECTL, "build", "--image", cwd=far))
    print(f"| ratio | {theirs / ours:.1f} |")
    three = ("build", "--image", "-P", "amd64,arm64v8,arm32v7")
    told("the same for three platforms", rounds(lambda: change(program, SIZE), EDGECTL, *three, cwd=one))
    run(EDGECTL, "build", "--image", cwd=ten)
    told("ten modules, nothing changed", rounds(lambda: None, EDGECTL, "build", "--image", cwd=ten))

    def rebuilt():
        change(program, SIZE)
        run(EDGECTL, "build", "--image", cwd=one)

    def beside():
        change(docker / "program", SIZE)
        run(*build, cwd=docker)

    run(EDGECTL, "build", "--push", cwd=one)
    ours = told("pushing one new layer of 5 MiB", rounds(rebuilt, EDGECTL, "build", "--push", cwd=one))
    theirs = told("`docker push`", rounds(beside, "docker", "push", "-q", name, cwd=docker))
    print(f"| ratio | {theirs / ours:.1f} |")
    told("pushing what is there", rounds(lambda: None, EDGECTL, "build", "--push", cwd=one))
    code = ten / "modules/module0/main.py"

    def line():
        code.write_text(f"print({random.random()})\n")

    told("a line of Python, to a pushed image", rounds(line, EDGECTL, "build", "module0", "--push", cwd=ten))
    told("a line of Python, to a loaded image", rounds(line, EDGECTL, "build", "module0", "--load", cwd=ten))


main()
