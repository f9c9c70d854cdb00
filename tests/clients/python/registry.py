"""The Python service SDK at the cloud hub: devices, modules, many at once, twins, statistics, rights.

Run with the path of a JSON file that says where everything is. What goes wrong ends it with a traceback.
"""

import json
import sys

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import (
    DeviceCapabilities,
    ExportImportDevice,
    Twin,
    TwinProperties,
)
from azure.iot.hub.protocol.models import AuthenticationMechanism, SymmetricKey
from msrest.exceptions import HttpOperationError

with open(sys.argv[1]) as file:
    PLACE = json.load(file)


def registry(policy="iothubowner", key=None, host=PLACE["hub"]):
    key = key or PLACE["policies"][policy]
    text = f"HostName={host};SharedAccessKeyName={policy};SharedAccessKey={key}"
    return IoTHubRegistryManager.from_connection_string(text)


def refused(status, work, *arguments):
    try:
        work(*arguments)
    except HttpOperationError as error:
        assert error.response.status_code == status, (status, error.response.status_code, error.response.text)
        body = error.response.json()
        assert body["Message"].startswith("ErrorCode:") and "Tracking ID:" in body["ExceptionMessage"], body
        return error.response.headers["iothub-errorcode"]
    raise AssertionError(f"{work} was not refused")


def devices(hub):
    made = hub.create_device_with_sas("sas", "", "", "enabled")
    keys = made.authentication.symmetric_key
    assert len(keys.primary_key) == 44 and made.authentication.type == "sas"
    assert refused(409, hub.create_device_with_sas, "sas", "", "", "enabled") == "DeviceAlreadyExists"
    changed = hub.update_device_with_sas("sas", made.etag, keys.primary_key, keys.secondary_key, "disabled")
    assert changed.status == "disabled" and changed.status_updated_time.year > 2000
    assert changed.authentication.symmetric_key.primary_key == keys.primary_key
    code = refused(412, hub.update_device_with_sas, "sas", made.etag, keys.primary_key, keys.secondary_key, "enabled")
    assert code == "PreconditionFailed"
    hub.create_device_with_x509("thumb", "AB" * 20, "CD" * 20, "enabled", status_reason="new")
    thumb = hub.get_device("thumb")
    assert thumb.authentication.type == "selfSigned" and thumb.status_reason == "new"
    assert thumb.authentication.x509_thumbprint.primary_thumbprint == "AB" * 20
    assert hub.create_device_with_certificate_authority("ca", "enabled").authentication.type == "certificateAuthority"
    edge = hub.create_device_with_sas("edge2", "", "", "enabled", iot_edge=True)
    assert edge.capabilities.iot_edge and edge.device_scope.startswith("ms-azure-iot-edge://edge2-")
    below = hub.create_device_with_sas("below", "", "", "enabled", device_scope=edge.device_scope)
    assert below.device_scope == edge.device_scope and below.parent_scopes == [edge.device_scope]
    names = [device.device_id for device in hub.get_devices()]
    assert {"sas", "thumb", "ca", "edge2", "below"} <= set(names) and len(hub.get_devices(2)) == 2
    statistics = hub.get_device_registry_statistics()
    assert statistics.total_device_count == len(names) and statistics.disabled_device_count == 1
    assert hub.get_service_statistics().connected_device_count >= 0
    assert refused(404, hub.get_device, "nobody") == "DeviceNotFound"
    assert refused(400, hub.create_device_with_sas, "no good", "", "", "enabled") == "ArgumentInvalid"
    assert refused(400, hub.create_device_with_sas, "x" * 129, "", "", "enabled") == "ArgumentInvalid"
    assert refused(400, hub.create_device_with_sas, "key", "no base64!", "", "enabled") == "ArgumentInvalid"
    hub.delete_device("ca", "*")
    refused(404, hub.get_device, "ca")


def modules(hub):
    assert {module.module_id for module in hub.get_modules("edge2")} == {"$edgeAgent", "$edgeHub"}
    made = hub.create_module_with_sas("edge2", "filter", "IotEdge", "", "")
    keys = made.authentication.symmetric_key
    assert made.managed_by == "IotEdge" and keys.primary_key != keys.secondary_key
    assert refused(409, hub.create_module_with_sas, "edge2", "filter", "", "", "") == "ModuleAlreadyExistsOnDevice"
    hub.update_module_with_sas("edge2", "filter", "somebody", made.etag, keys.primary_key, keys.secondary_key)
    assert hub.get_module("edge2", "filter").managed_by == "somebody"
    hub.delete_module("edge2", "filter")
    assert refused(404, hub.get_module, "edge2", "filter") == "ModuleNotFound"


def many(hub):
    def item(name, mode, **more):
        keys = SymmetricKey(primary_key="", secondary_key="")
        authentication = AuthenticationMechanism(type="sas", symmetric_key=keys)
        return ExportImportDevice(id=name, import_mode=mode, authentication=authentication, status="enabled", **more)

    answer = hub.bulk_create_or_update_devices([item(f"many-{n}", "create", tags={"n": n}) for n in range(100)])
    assert answer.is_successful and not answer.errors, answer
    assert hub.get_twin("many-42").tags == {"n": 42}
    changed = item("many-1", "update")
    changed.status = "disabled"
    answer = hub.bulk_create_or_update_devices([changed, item("many-2", "create"), item("many-3", "delete")])
    assert not answer.is_successful and [error.device_id for error in answer.errors] == ["many-2"]
    assert answer.errors[0].error_code == "DeviceAlreadyExists"
    assert hub.get_device("many-1").status == "disabled"
    refused(404, hub.get_device, "many-3")
    stale = item("many-4", "updateIfMatchETag", e_tag="OTk=")
    answer = hub.bulk_create_or_update_devices([stale, item("many-5", "updateTwin", tags={"n": None, "m": 1})])
    assert [error.error_code for error in answer.errors] == ["PreconditionFailed"]
    assert hub.get_twin("many-5").tags == {"m": 1}
    hub.bulk_create_or_update_devices([item(f"more-{n}", "create") for n in range(101)])
    refused(404, hub.get_device, "more-0")
    answer = hub.bulk_create_or_update_devices([item(f"many-{n}", "delete") for n in range(100) if n != 3])
    assert answer.is_successful, answer.errors


def twins(hub):
    twin = hub.get_twin("edge2")
    assert twin.status == "enabled" and twin.connection_state == "Disconnected" and twin.capabilities.iot_edge
    assert twin.device_etag and twin.authentication_type == "sas" and twin.version >= 1
    patch = Twin(tags={"site": {"hall": 1}}, properties=TwinProperties(desired={"a": {"b": 1, "c": 2}, "d": 3}))
    first = hub.update_twin("edge2", patch, twin.etag)
    assert first.tags == {"site": {"hall": 1}} and first.version > twin.version
    desired = first.properties.desired
    assert desired["a"] == {"b": 1, "c": 2} and desired["$version"] == 2, desired
    mark = desired["$metadata"]["a"]["b"]
    assert mark["$lastUpdatedVersion"] == 2 and mark["$lastUpdated"].endswith("Z"), mark
    assert refused(412, hub.update_twin, "edge2", patch, twin.etag) == "PreconditionFailed"
    second = hub.update_twin("edge2", Twin(properties=TwinProperties(desired={"a": {"b": None}, "e": [1]})), "*")
    assert {name: value for name, value in second.properties.desired.items() if name[0] != "$"} == {
        "a": {"c": 2}, "d": 3, "e": [1]
    }
    marks = second.properties.desired["$metadata"]
    assert (marks["d"]["$lastUpdatedVersion"], marks["e"]["$lastUpdatedVersion"]) == (2, 3), marks
    third = hub.replace_twin("edge2", Twin(tags={"only": 1}, properties=TwinProperties(desired={"z": 1})), "*")
    assert third.tags == {"only": 1} and "a" not in third.properties.desired
    module = hub.update_module_twin("edge2", "$edgeHub", Twin(properties=TwinProperties(desired={"x": 1})))
    assert module.module_id == "$edgeHub" and module.properties.desired["x"] == 1
    replaced = hub.replace_module_twin("edge2", "$edgeHub", Twin(properties=TwinProperties(desired={"y": 1})))
    assert "x" not in hub.get_module_twin("edge2", "$edgeHub").properties.desired and replaced.etag != module.etag

    def desire(value):
        return Twin(properties=TwinProperties(desired=value))

    deep = 1
    for _ in range(11):
        deep = {"a": deep}
    for wrong in [
        desire({"large": {str(n): "x" * 4000 for n in range(9)}}), desire({"text": "x" * 4097}), desire(deep),
        desire({"a.b": 1}), desire({"a b": 1}), desire({"$a": 1}), desire({"big": 2**53}),
        Twin(tags={str(n): "x" * 4000 for n in range(3)}), Twin(tags={"a.b": 1}),
    ]:
        assert refused(400, hub.update_twin, "edge2", wrong) == "ArgumentInvalid", wrong
    refused(404, hub.get_twin, "nobody")


def rights():
    reader, writer, service = registry("registryRead"), registry("registryReadWrite"), registry("service")
    unauthorized = "IotHubUnauthorizedAccess"
    assert reader.get_device("sas").device_id == "sas"
    assert refused(401, reader.delete_device, "sas") == unauthorized
    assert refused(401, reader.get_twin, "sas") == unauthorized
    assert writer.create_device_with_sas("written", "", "", "enabled").device_id == "written"
    writer.delete_device("written")
    assert service.get_twin("sas").device_id == "sas"
    assert refused(401, service.get_device, "sas") == unauthorized
    assert refused(401, registry("device").get_device, "sas") == unauthorized
    assert refused(401, registry("nobody", PLACE["policies"]["service"]).get_twin, "sas") == unauthorized
    assert refused(401, registry("service", PLACE["policies"]["device"]).get_twin, "sas") == unauthorized


HUB = registry()
devices(HUB)
modules(HUB)
many(HUB)
twins(HUB)
rights()
for name in ["sas", "thumb", "edge2", "below"]:
    HUB.delete_device(name)
