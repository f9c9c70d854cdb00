"""The Python device SDK at both hubs: MQTT, MQTT in a WebSocket, tokens and certificates, devices and modules.

Run with the path of a JSON file that says where everything is. What goes wrong ends it with a traceback.
"""

import base64
import hashlib
import hmac
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from azure.iot.device import (
    IoTHubDeviceClient,
    IoTHubModuleClient,
    Message,
    MethodResponse,
    X509,
    exceptions,
)

with open(sys.argv[1]) as file:
    PLACE = json.load(file)
HUB, GATEWAY, DEVICE = PLACE["hub"], PLACE["gateway"], PLACE["device"]
with open(PLACE["trustBundle"]) as file:
    BUNDLE = file.read()
TRUST = ssl.create_default_context(cadata=BUNDLE)


def service(method, path, body=None, headers=()):
    """Asks the service API of the cloud hub."""
    expiry = str(int(time.time()) + 600)
    audience = urllib.parse.quote_plus(HUB)
    key = base64.b64decode(PLACE["serviceKey"])
    digest = hmac.digest(key, f"{audience}\n{expiry}".encode(), hashlib.sha256)
    signature = urllib.parse.quote(base64.b64encode(digest))
    token = f"SharedAccessSignature sr={audience}&sig={signature}&se={expiry}&skn=iothubowner"
    request = urllib.request.Request(
        f"https://{HUB}{path}?api-version=2021-04-12",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": token, "Content-Type": "application/json", **dict(headers)},
    )
    with urllib.request.urlopen(request, context=TRUST) as answer:
        return json.loads(answer.read() or "null")


SCOPE = service("GET", f"/devices/{DEVICE}")["deviceScope"]


def leaf(name, authentication=None):
    """Registers a device below the edge device."""
    body = {"deviceId": name, "deviceScope": SCOPE}
    if authentication:
        body["authentication"] = authentication
    return service("PUT", f"/devices/{name}", body)


def thumbprint(value):
    return {
        "type": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": value, "secondaryThumbprint": None},
    }


AUTHORITY = {"type": "certificateAuthority"}


def key_of(made):
    return made["authentication"]["symmetricKey"]["primaryKey"]


def certificate(name):
    at = PLACE["certificates"][name]
    return X509(cert_file=at["certificate"], key_file=at["key"])


def device_with_certificate(device, name, gateway, websockets):
    return IoTHubDeviceClient.create_from_x509_certificate(
        certificate(name),
        HUB,
        device,
        gateway_hostname=gateway,
        websockets=websockets,
        server_verification_cert=BUNDLE,
    )


def wait_until(what, holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def converse(path, client):
    """Everything that a client does, once."""
    asked = []

    def answer(request):
        asked.append(request.name)
        client.send_method_response(MethodResponse.create_from_method_request(request, 200, {"to": path}))

    client.connect()
    client.on_method_request_received = answer
    twin = client.get_twin()
    assert "$version" in twin["desired"], twin
    client.patch_twin_reported_properties({"at": path})
    client.send_message(Message(path))
    call = {"methodName": "poke", "payload": 1, "connectTimeoutInSeconds": 30, "responseTimeoutInSeconds": 30}
    answered = service("POST", f"/twins/{path}/methods", call)
    assert answered == {"status": 200, "payload": {"to": path}}, answered
    assert asked == ["poke"], asked
    reported = lambda: service("GET", f"/twins/{path}")["properties"]["reported"]
    wait_until("the twin arrived", lambda: reported().get("at") == path)
    client.shutdown()


def refused(client):
    try:
        client.connect()
    except exceptions.CredentialError:
        client.shutdown()
        return
    raise AssertionError("it was let in")


for websockets in (False, True):
    way = "socket" if websockets else "mqtt"
    options = {"websockets": websockets, "server_verification_cert": BUNDLE}

    name = f"keys-{way}"
    text = f"HostName={HUB};DeviceId={name};SharedAccessKey={key_of(leaf(name))};GatewayHostName={GATEWAY}"
    converse(name, IoTHubDeviceClient.create_from_connection_string(text, **options))

    name = f"vouched-{way}"
    leaf(name, AUTHORITY)
    for gateway in (GATEWAY, None):
        converse(name, device_with_certificate(name, name, gateway, websockets))

    name = f"known-{way}"
    leaf(name, thumbprint(PLACE["certificates"][name]["thumbprint"]))
    for gateway in (GATEWAY, None):
        converse(name, device_with_certificate(name, name, gateway, websockets))

    module = f"keys-{way}"
    path = f"{DEVICE}/modules/{module}"
    made = service("PUT", f"/devices/{path}", {"deviceId": DEVICE, "moduleId": module})
    text = f"HostName={HUB};DeviceId={DEVICE};ModuleId={module};SharedAccessKey={key_of(made)};GatewayHostName={GATEWAY}"
    converse(path, IoTHubModuleClient.create_from_connection_string(text, **options))

    # Modules with certificates are for the cloud hub alone.
    module = f"vouched-{way}"
    path = f"{DEVICE}/modules/{module}"
    body = {"deviceId": DEVICE, "moduleId": module, "authentication": AUTHORITY}
    service("PUT", f"/devices/{path}", body)
    converse(
        path,
        IoTHubModuleClient.create_from_x509_certificate(
            certificate(f"{DEVICE}/{module}"), HUB, DEVICE, module, **options
        ),
    )

    name = f"wrong-{way}"
    leaf(name, AUTHORITY)
    for wrong in (f"foreign-{way}", f"expired-{way}", f"vouched-{way}"):
        for gateway in (GATEWAY, None):
            refused(device_with_certificate(name, wrong, gateway, websockets))

# A module calls another through the edge hub.
module = "keys-mqtt"
made = {name: service("GET", f"/devices/{DEVICE}/modules/{name}") for name in ("keys-mqtt", "keys-socket")}
text = {
    name: f"HostName={HUB};DeviceId={DEVICE};ModuleId={name};SharedAccessKey={key_of(made[name])};GatewayHostName={GATEWAY}"
    for name in made
}
target = IoTHubModuleClient.create_from_connection_string(text["keys-mqtt"], server_verification_cert=BUNDLE)
target.connect()
target.on_method_request_received = lambda request: target.send_method_response(
    MethodResponse.create_from_method_request(request, 202, {"asked": request.payload})
)
os.environ["EdgeHubConnectionString"] = text["keys-socket"]
os.environ["EdgeModuleCACertificateFile"] = PLACE["trustBundle"]
caller = IoTHubModuleClient.create_from_edge_environment(websockets=True)
answered = caller.invoke_method({"methodName": "poke", "payload": [1], "connectTimeoutInSeconds": 10}, DEVICE, module)
assert answered == {"status": 202, "payload": {"asked": [1]}}, answered
caller.shutdown()
target.shutdown()

print("done")
