#!/usr/bin/env python3
"""Writes deployment manifests of 60 modules and about 54 KB each, without a finding, for benchmarks.

Usage: benches/manifests.py DIRECTORY COUNT
"""
import json
import pathlib
import sys


def module(file, number):
    options = {
        "ExposedPorts": {f"{2000 + number}/tcp": {}},
        "HostConfig": {
            "PortBindings": {f"{2000 + number}/tcp": [{"HostPort": str(20000 + number)}]},
            "Binds": [f"/var/lib/edge/module{number}:/data"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        },
    }
    return {
        "version": "1.0",
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "startupOrder": number % 5,
        "env": {"INTERVAL": {"value": "5"}, "SITE": {"value": f"site-{file}"}},
        "settings": {
            "image": f"registry.example.com/sensors/module{number}:1.{file}.0-amd64",
            "createOptions": json.dumps(options),
        },
    }


def manifest(file):
    names = [f"module{number:02}" for number in range(60)]
    routes = {
        f"{name}ToCloud": {
            "route": f"FROM /messages/modules/{name}/outputs/alerts "
            f"WHERE as_number(temperature) > {20 + number} AND level = 'alert' INTO $upstream",
            "priority": number % 10,
            "timeToLiveSecs": 3600,
        }
        for number, name in enumerate(names)
    }
    content = {
        "$edgeAgent": {
            "properties.desired": {
                "schemaVersion": "1.1",
                "runtime": {
                    "type": "docker",
                    "settings": {"minDockerVersion": "v1.25", "loggingOptions": "", "registryCredentials": {}},
                },
                "systemModules": {
                    "edgeAgent": {
                        "type": "docker",
                        "settings": {"image": "mcr.microsoft.com/azureiotedge-agent:1.6", "createOptions": "{}"},
                    },
                    "edgeHub": {
                        "type": "docker",
                        "status": "running",
                        "restartPolicy": "always",
                        "settings": {"image": "mcr.microsoft.com/azureiotedge-hub:1.6", "createOptions": "{}"},
                    },
                },
                "modules": {name: module(file, number) for number, name in enumerate(names)},
            }
        },
        "$edgeHub": {
            "properties.desired": {
                "schemaVersion": "1.1",
                "routes": routes,
                "storeAndForwardConfiguration": {"timeToLiveSecs": 7200},
            }
        },
    }
    return {"modulesContent": content}


directory, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
directory.mkdir(parents=True)
for file in range(count):
    (directory / f"manifest-{file:04}.json").write_text(json.dumps(manifest(file), indent=1))
