"""The Python provisioning client at the simulated provisioning service, over MQTT and MQTT in a WebSocket.

Run with the path of a JSON file that says where everything is. What goes wrong ends it with a traceback.
"""

import base64
import hashlib
import hmac
import json
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from azure.iot.device import X509, IoTHubDeviceClient, ProvisioningDeviceClient, exceptions

with open(sys.argv[1]) as file:
    PLACE = json.load(file)
HUB = PLACE["hub"]
with open(PLACE["trustBundle"]) as file:
    BUNDLE = file.read()
TRUST = ssl.create_default_context(cadata=BUNDLE)


def service(method, path, body=None, policy="provisioningserviceowner", headers=()):
    """Asks the provisioning service, or the hub."""
    expiry = str(int(time.time()) + 600)
    audience = urllib.parse.quote_plus(HUB)
    key = base64.b64decode(PLACE["policies"][policy])
    signature = urllib.parse.quote(base64.b64encode(hmac.digest(key, f"{audience}\n{expiry}".encode(), hashlib.sha256)))
    token = f"SharedAccessSignature sr={audience}&sig={signature}&se={expiry}&skn={policy}"
    request = urllib.request.Request(
        f"https://{HUB}{path}?api-version=2019-03-31",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": token, "Content-Type": "application/json", **dict(headers)},
    )
    with urllib.request.urlopen(request, context=TRUST) as answer:
        return json.loads(answer.read() or "null")


SCOPE = service("GET", "/provisioning")["idScope"]


def by_key(name, key, websockets=False, scope=SCOPE):
    return ProvisioningDeviceClient.create_from_symmetric_key(
        HUB, name, scope, key, server_verification_cert=BUNDLE, websockets=websockets
    )


def connected(state, **proof):
    """Whether the device may connect to the hub that it was assigned to."""
    target = f"HostName={state.assigned_hub};DeviceId={state.device_id};SharedAccessKey={proof['key']}"
    client = IoTHubDeviceClient.create_from_connection_string(target, server_verification_cert=BUNDLE)
    client.connect()
    twin = client.get_twin()
    client.shutdown()
    return twin


def refused(client):
    try:
        client.register()
    except exceptions.ClientError:
        return
    raise AssertionError("the registration was not refused")


def one_device():
    twin = {"tags": {"hall": 1}, "properties": {"desired": {"interval": 5}}}
    enrollment = service("PUT", "/enrollments/one", {
        "registrationId": "one", "deviceId": "first", "attestation": {"type": "symmetricKey"}, "initialTwin": twin,
    })
    key = enrollment["attestation"]["symmetricKey"]["primaryKey"]
    for websockets in [False, True]:
        result = by_key("one", key, websockets).register()
        state = result.registration_state
        assert result.status == "assigned" and state.device_id == "first" and state.assigned_hub == HUB, result
    assert connected(state, key=key)["desired"]["interval"] == 5
    assert service("GET", "/twins/first", policy="iothubowner")["tags"] == {"hall": 1}
    shown = service("GET", "/enrollments/one")
    assert shown["registrationState"]["status"] == "assigned" and "symmetricKey" not in shown["attestation"], shown
    keys = service("POST", "/enrollments/one/attestationmechanism")
    assert keys["symmetricKey"]["primaryKey"] == key
    refused(by_key("one", base64.b64encode(b"wrong").decode()))
    refused(by_key("nobody", key))
    refused(by_key("one", key, scope="0ne00000000"))
    etag = {"If-Match": shown["etag"]}
    service("PUT", "/enrollments/one", {**shown, "provisioningStatus": "disabled"}, headers=etag)
    refused(by_key("one", key))
    assert service("GET", "/registrations/one")["status"] == "disabled"
    try:
        service("PUT", "/enrollments/one", shown, headers=etag)
        raise AssertionError("a stale etag was taken")
    except urllib.error.HTTPError as error:
        assert error.code == 412, error


def group():
    made = service("PUT", "/enrollmentGroups/floor", {
        "enrollmentGroupId": "floor", "attestation": {"type": "symmetricKey"}, "capabilities": {"iotEdge": True},
        "initialTwin": {"tags": {"n": 1}}, "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": False},
    })
    master = base64.b64decode(made["attestation"]["symmetricKey"]["primaryKey"])
    for name in ["floor-1", "floor-2"]:
        key = base64.b64encode(hmac.digest(master, name.encode(), hashlib.sha256)).decode()
        result = by_key(name, key).register()
        assert result.status == "assigned" and result.registration_state.device_id == name, result
        assert result.registration_state.sub_status == "initialAssignment", result.registration_state
    device = service("GET", "/devices/floor-1", policy="iothubowner")
    assert device["capabilities"]["iotEdge"] and device["authentication"]["type"] == "sas"
    service("PATCH", "/twins/floor-2", {"tags": {"n": 2}}, policy="iothubowner")
    again = by_key(name, key).register()
    assert again.registration_state.sub_status == "deviceDataReset", again.registration_state
    assert service("GET", "/twins/floor-2", policy="iothubowner")["tags"] == {"n": 1}
    refused(by_key("floor-3", key))
    assert len(service("POST", "/registrations/floor/query", {"query": "SELECT *"})) == 2


def certificates():
    def by_certificate(name, websockets=False):
        place = PLACE["certificates"][name]
        return ProvisioningDeviceClient.create_from_x509_certificate(
            HUB, name, SCOPE, X509(place["certificate"], place["key"]), server_verification_cert=BUNDLE,
            websockets=websockets,
        )

    with open(PLACE["certificates"]["alone"]["certificate"]) as file:
        pem = base64.b64encode(file.read().encode()).decode()
    refused(by_certificate("alone"))
    attestation = {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": pem}}}}
    service("PUT", "/enrollments/alone", {"registrationId": "alone", "attestation": attestation})
    for websockets in [False, True]:
        assert by_certificate("alone", websockets).register().status == "assigned"
    attestation = {"type": "x509", "x509": {"caReferences": {"primary": "device-ca"}}}
    service("PUT", "/enrollmentGroups/vouched", {"enrollmentGroupId": "vouched", "attestation": attestation})
    assert by_certificate("vouched").register().status == "assigned"
    refused(by_certificate("stranger"))
    with open(PLACE["foreignAuthority"]) as file:
        signing = {"signingCertificates": {"primary": {"certificate": file.read()}}}
    attestation = {"type": "x509", "x509": signing}
    service("PUT", "/enrollmentGroups/strangers", {"enrollmentGroupId": "strangers", "attestation": attestation})
    assert by_certificate("stranger").register().status == "assigned"
    assert service("GET", "/devices/vouched", policy="iothubowner")["authentication"]["type"] == "selfSigned"
    place = PLACE["certificates"]["vouched"]
    client = IoTHubDeviceClient.create_from_x509_certificate(
        X509(place["certificate"], place["key"]), HUB, "vouched", server_verification_cert=BUNDLE
    )
    client.connect()
    client.shutdown()


def planned():
    """What `edgectl enrollment add` let in."""
    assert by_key("planned", PLACE["plannedKey"]).register().status == "assigned"
    twin = service("GET", "/twins/planned", policy="iothubowner")
    assert twin["tags"] == {"hall": "3"} and twin["capabilities"]["iotEdge"], twin


assert SCOPE == PLACE["idScope"]
planned()
one_device()
group()
certificates()
