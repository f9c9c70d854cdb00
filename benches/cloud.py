#!/usr/bin/env python3
"""The cloud hub with ten thousand devices: registering them, queries and target conditions over all, a deployment to all.

Usage: benches/cloud.py PATH_OF_EDGECTL [DEVICES]

Each figure is the median of five, but for what can be done once. Nothing but the standard library is needed.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

EDGECTL = os.path.abspath(sys.argv[1])
COUNT = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000


class Hub:
    """The service API of a simulated hub."""

    def __init__(self, state):
        with open(f"{state}/endpoints.json", encoding="utf-8") as file:
            self.endpoints = json.load(file)
        with open(f"{state}/service.json", encoding="utf-8") as file:
            self.key = base64.b64decode(json.load(file)["sharedAccessKey"])
        self.host = self.endpoints["hubHostName"]
        trust = ssl.create_default_context(cafile=self.endpoints["trustBundle"])
        self.connection = http.client.HTTPSConnection(self.host, self.endpoints["hubHttpsPort"], context=trust)

    def token(self):
        resource, expiry = urllib.parse.quote(self.host, safe=""), int(time.time()) + 3600
        signed = hmac.new(self.key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
        signature = urllib.parse.quote(base64.b64encode(signed), safe="")
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn=iothubowner"

    def ask(self, method, path, body=None):
        headers = {"Authorization": self.token(), "Content-Type": "application/json"}
        self.connection.request(method, f"{path}?api-version=2021-04-12", json.dumps(body) if body else None, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 300, (answer.status, text)
        return json.loads(text) if text else None


def timed(work, times=5):
    """Milliseconds, and what came of the last one."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        result = work()
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken), result


def manifest():
    modules = {name: {"type": "docker", "settings": {"image": f"mcr.microsoft.com/azureiotedge-{name}:1.5"}} for name in ("agent", "hub")}
    system = {"edgeAgent": modules["agent"], "edgeHub": {**modules["hub"], "status": "running", "restartPolicy": "always"}}
    agent = {"schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {}}, "systemModules": system, "modules": {}}
    hub = {"schemaVersion": "1.1", "routes": {"up": "FROM /messages/* INTO $upstream"}, "storeAndForwardConfiguration": {"timeToLiveSecs": 60}}
    return {"$edgeAgent": {"properties.desired": agent}, "$edgeHub": {"properties.desired": hub}}


def main():
    with tempfile.TemporaryDirectory() as place:
        def edgectl(*arguments):
            subprocess.run([EDGECTL, *arguments], cwd=f"{place}/plant", check=True, capture_output=True)

        subprocess.run([EDGECTL, "new", "plant", "--no-module"], cwd=place, check=True, capture_output=True)
        edgectl("sim", "up", "-d")
        try:
            measure(Hub(f"{place}/plant/.edgectl/device"))
        finally:
            edgectl("sim", "down")


def measure(hub):
    def register():
        for first in range(0, COUNT, 100):
            devices = [{"id": f"d{n:05}", "capabilities": {"iotEdge": True}, "tags": {"hall": n % 7, "ring": n % 100}} for n in range(first, first + 100)]
            assert hub.ask("POST", "/devices", devices)["isSuccessful"]

    print("| what | ms |\n|---|---|")
    taken, _ = timed(register, 1)
    print(f"| registering {COUNT} edge devices with tags, 100 in a request | {taken:.0f} |")
    query = {"query": "SELECT COUNT() AS n FROM devices WHERE tags.hall = 3 AND NOT STARTS_WITH(deviceId, 'x')"}
    taken, rows = timed(lambda: hub.ask("POST", "/devices/query", query))
    print(f"| a query that counts {rows[0]['n']} of all | {taken:.1f} |")
    taken, rows = timed(lambda: hub.ask("POST", "/devices/query", {"query": "SELECT * FROM devices WHERE tags.ring = 7"}))
    print(f"| a query for {len(rows)} whole twins among all | {taken:.1f} |")
    content = {"modulesContent": manifest()}

    def put(name, condition, priority):
        hub.ask("PUT", f"/configurations/{name}", {"id": name, "content": content, "targetCondition": condition, "priority": priority})

    taken, _ = timed(lambda: put("none", "tags.hall = 99", 1), 1)
    print(f"| a target condition over all that is true of none | {taken:.0f} |")
    taken, _ = timed(lambda: put("some", "tags.ring = 7", 2), 1)
    print(f"| a deployment to {COUNT // 100} of all, applied | {taken:.0f} |")
    taken, _ = timed(lambda: put("all", "*", 1), 1)
    print(f"| a deployment to all, applied | {taken:.0f} |")


main()
