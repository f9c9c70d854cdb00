"""Unmodified azure-iot-hub against the simulated cloud hub: registry, twins, queries, configurations, jobs, methods."""

import json
import os
import sys
import time

with open(sys.argv[1], encoding="utf-8") as file:
    place = json.load(file)
os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = place["trustBundle"]

from azure.iot.device import IoTHubDeviceClient, MethodResponse  # noqa: E402
from azure.iot.hub import IoTHubConfigurationManager, IoTHubJobManager, IoTHubRegistryManager  # noqa: E402
from azure.iot.hub.models import (  # noqa: E402
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    AuthenticationMechanism,
    JobRequest,
    QuerySpecification,
    SymmetricKey,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError  # noqa: E402

CONNECTION = f"HostName={place['hub']};SharedAccessKeyName=iothubowner;SharedAccessKey={place['serviceKey']}"
registry = IoTHubRegistryManager.from_connection_string(CONNECTION)


def refused(status, call, *arguments, **named):
    """The call is refused with this status."""
    try:
        call(*arguments, **named)
    except HttpOperationError as error:
        assert error.response.status_code == status, (status, error.response.status_code, error.response.text)
        return
    raise AssertionError(f"{call} was not refused")


def eventually(what, test):
    """Waits until something holds."""
    deadline = time.monotonic() + 20
    while not test():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def query(text, page=None):
    found, continuation = [], None
    while True:
        answer = registry.query_iot_hub(QuerySpecification(query=text), continuation, page)
        found += answer.items
        continuation = answer.continuation_token
        if not continuation:
            return found


# Devices and modules.
device = registry.create_device_with_sas("press-1", "", "", "enabled")
assert device.authentication.type == "sas" and len(device.authentication.symmetric_key.primary_key) == 44
assert device.connection_state == "Disconnected" and device.status == "enabled"
refused(409, registry.create_device_with_sas, "press-1", "", "", "enabled")
refused(404, registry.get_device, "nowhere")
keys = device.authentication.symmetric_key
updated = registry.update_device_with_sas("press-1", device.etag, keys.primary_key, keys.secondary_key, "disabled", status_reason="service")
assert (updated.status, updated.status_reason) == ("disabled", "service") and updated.etag != device.etag
assert updated.status_updated_time.year > 2000
refused(412, registry.update_device_with_sas, "press-1", device.etag, "", "", "enabled")
registry.update_device_with_sas("press-1", "*", keys.primary_key, keys.secondary_key, "enabled")
thumbprint = "AB" * 20
x509 = registry.create_device_with_x509("press-2", thumbprint, thumbprint, "enabled")
assert x509.authentication.type == "selfSigned"
assert x509.authentication.x509_thumbprint.primary_thumbprint == thumbprint
assert registry.create_device_with_certificate_authority("press-3", "enabled").authentication.type == "certificateAuthority"
module = registry.create_module_with_sas("press-1", "drive", "operator", "", "")
assert (module.module_id, module.managed_by) == ("drive", "operator")
assert [item.module_id for item in registry.get_modules("press-1")] == ["drive"]
refused(404, registry.create_module_with_sas, "nowhere", "drive", "", "", "")

# Many at once.
many = [ExportImportDevice(id=f"bulk-{n}", status="enabled", authentication=AuthenticationMechanism(type="sas", symmetric_key=SymmetricKey())) for n in range(100)]
result = registry.bulk_create_or_update_devices(many)
assert result.is_successful and not result.errors
result = registry.bulk_create_or_update_devices([ExportImportDevice(id="bulk-1", import_mode="create"), ExportImportDevice(id="bulk-x", import_mode="create")])
assert not result.is_successful and [error.device_id for error in result.errors] == ["bulk-1"]
assert registry.get_device("bulk-x").device_id == "bulk-x"
result = registry.bulk_create_or_update_devices([ExportImportDevice(id="bulk-x", import_mode="delete")])
assert result.is_successful
refused(404, registry.get_device, "bulk-x")
assert len(registry.get_devices(50)) == 50
statistics = registry.get_device_registry_statistics()
# The edge device itself is the one beside ours.
assert statistics.total_device_count == 104 and statistics.disabled_device_count == 0
assert registry.get_service_statistics().connected_device_count == 0

# Twins.
twin = registry.get_twin("press-1")
twin = registry.update_twin("press-1", Twin(tags={"hall": "north", "line": 4}, properties=TwinProperties(desired={"speed": 7, "a": {"b": 1}})), twin.etag)
assert twin.tags == {"hall": "north", "line": 4} and twin.properties.desired["speed"] == 7
assert twin.properties.desired["$metadata"]["a"]["b"]["$lastUpdated"]
refused(412, registry.update_twin, "press-1", Twin(tags={"x": 1}), "AAAAAAAAAAA=")
twin = registry.update_twin("press-1", Twin(properties=TwinProperties(desired={"a": None})), "*")
assert "a" not in twin.properties.desired and twin.properties.desired["$version"] == 3
twin = registry.replace_twin("press-1", Twin(tags={"hall": "south"}, properties=TwinProperties(desired={"speed": 8})), twin.etag)
assert twin.tags == {"hall": "south"}
module_twin = registry.update_module_twin("press-1", "drive", Twin(properties=TwinProperties(desired={"torque": 2})), "*")
assert module_twin.module_id == "drive" and module_twin.properties.desired["torque"] == 2

# Queries.
assert [twin.device_id for twin in query("SELECT * FROM devices WHERE tags.hall = 'south'")] == ["press-1"]
assert len(query("SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'bulk-')", page=30)) == 100
assert len(registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices"), None, 7).items) == 7
assert query("SELECT COUNT() AS n FROM devices WHERE status = 'enabled'")[0].additional_properties["n"] == 104
found = query("SELECT deviceId, properties.desired.torque AS t FROM devices.modules WHERE moduleId = 'drive'")
assert found[0].device_id == "press-1" and found[0].additional_properties["t"] == 2
refused(400, query, "SELECT * FRM devices")

# Configurations: for devices, and deployments for edge devices.
configurations = IoTHubConfigurationManager.from_connection_string(CONNECTION)
settings = Configuration(id="pace", content=ConfigurationContent(device_content={"properties.desired.pace": {"seconds": 5}}), target_condition="tags.hall = 'south'", priority=10, labels={"by": "test"})
made = configurations.create_configuration(settings)
assert made.system_metrics.results == {"targetedCount": 1, "appliedCount": 1}, made.system_metrics.results
assert registry.get_twin("press-1").properties.desired["pace"] == {"seconds": 5}
registry.update_twin("press-1", Twin(tags={"hall": "north"}), "*")
assert "pace" not in registry.get_twin("press-1").properties.desired
made.priority = 11
changed = configurations.update_configuration(made, made.etag)
assert changed.priority == 11 and changed.etag != made.etag
refused(412, configurations.update_configuration, made, made.etag)
assert [one.id for one in configurations.get_configurations(10)] == ["pace"]
tested = configurations.test_configuration_queries(ConfigurationQueriesTestInput(target_condition="tags.a = ", custom_metric_queries={"good": "SELECT deviceId FROM devices", "bad": "SELECT"}))
assert tested.target_condition_error and list(tested.custom_metric_query_errors) == ["bad"]
configurations.delete_configuration("pace", "*")
refused(404, configurations.get_configuration, "pace")


def base(version):
    runtime = {"type": "docker", "settings": {"minDockerVersion": "v1.25"}}
    system = {name: {"type": "docker", "settings": {"image": f"mcr.microsoft.com/azureiotedge-{image}:1.5"}} for name, image in (("edgeAgent", "agent"), ("edgeHub", "hub"))}
    system["edgeHub"].update(status="running", restartPolicy="always")
    return {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "runtime": runtime, "systemModules": system, "modules": {}}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {version: "FROM /messages/* INTO $upstream"}, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
    }


edge = place["device"]
registry.update_twin(edge, Twin(tags={"ring": "early"}), "*")
low = Configuration(id="low", content=ConfigurationContent(modules_content=base("low")), target_condition="*", priority=1)
high = Configuration(id="high", content=ConfigurationContent(modules_content=base("high")), target_condition="tags.ring = 'early'", priority=5)
layer = Configuration(id="layer", content=ConfigurationContent(modules_content={"$edgeHub": {"properties.desired.routes.more": "FROM /messages/modules/x/* INTO $upstream"}}), target_condition="tags.ring = 'early'", priority=7)
for configuration in (low, high, layer):
    configurations.create_configuration(configuration)


def routes():
    return sorted(registry.get_module_twin(edge, "$edgeHub").properties.desired["routes"])


assert routes() == ["high", "more"]
assert configurations.get_configuration("low").system_metrics.results["appliedCount"] == 0
found = query("SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND configurations.[[layer]].status = 'Applied'")
assert [twin.device_id for twin in found] == [edge]
eventually("the edge device reports success", lambda: configurations.get_configuration("high").system_metrics.results["reportedSuccessfulCount"] == 1)
registry.update_twin(edge, Twin(tags={"ring": "late"}), "*")
assert routes() == ["low"]
configurations.delete_configuration("low")
assert routes() == ["low"], "a device keeps what it has when there is nothing else for it"
registry.update_twin(edge, Twin(tags={"ring": "early"}), "*")
assert routes() == ["high", "more"]
for name in ("high", "layer"):
    configurations.delete_configuration(name)

# Methods and jobs, with a device that is connected.
key = registry.get_device("press-1").authentication.symmetric_key.primary_key
client = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={place['hub']};DeviceId=press-1;SharedAccessKey={key}", server_verification_cert=open(place["trustBundle"], encoding="utf-8").read()
)
client.on_method_request_received = lambda request: client.send_method_response(
    MethodResponse.create_from_method_request(request, 200, {"echo": request.payload})
)
client.connect()
assert registry.get_device("press-1").connection_state == "Connected"
assert registry.get_service_statistics().connected_device_count == 1
answer = registry.invoke_device_method("press-1", CloudToDeviceMethod(method_name="echo", payload={"x": 1}, connect_timeout_in_seconds=10))
assert (answer.status, answer.payload) == (200, {"echo": {"x": 1}})
refused(404, registry.invoke_device_method, "press-2", CloudToDeviceMethod(method_name="echo", payload=1))

jobs = IoTHubJobManager.from_connection_string(CONNECTION)
queued = jobs.create_scheduled_job("tag-them", JobRequest(type="scheduleUpdateTwin", query_condition="STARTS_WITH(deviceId, 'bulk-')", update_twin=Twin(etag="*", tags={"season": "winter"}), max_execution_time_in_seconds=60))
assert queued.status == "queued"
eventually("the job ends", lambda: jobs.get_scheduled_job("tag-them").status == "completed")
done = jobs.get_scheduled_job("tag-them")
assert done.device_job_statistics.succeeded_count == done.device_job_statistics.device_count == 100
assert query("SELECT COUNT() AS n FROM devices WHERE tags.season = 'winter'")[0].additional_properties["n"] == 100
jobs.create_scheduled_job("call-them", JobRequest(type="scheduleDeviceMethod", query_condition="deviceId IN ['press-1', 'press-2']", cloud_to_device_method=CloudToDeviceMethod(method_name="echo", payload=5, response_timeout_in_seconds=10, connect_timeout_in_seconds=0), max_execution_time_in_seconds=60))
eventually("the job ends", lambda: jobs.get_scheduled_job("call-them").status == "completed")
done = jobs.get_scheduled_job("call-them")
assert (done.device_job_statistics.succeeded_count, done.device_job_statistics.failed_count) == (1, 1)
parts = query("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'call-them'")
assert len(parts) == 2
later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
jobs.create_scheduled_job("later", JobRequest(type="scheduleUpdateTwin", query_condition="*", update_twin=Twin(tags={"x": 1}), start_time=later, max_execution_time_in_seconds=60))
assert jobs.cancel_scheduled_job("later").status == "cancelled"
refused(404, jobs.get_scheduled_job, "nowhere")
client.shutdown()

# What a policy may not do, and other ends.
other = f"HostName={place['hub']};SharedAccessKeyName=registryRead;SharedAccessKey={place['readKey']}"
reader = IoTHubRegistryManager.from_connection_string(other)
assert reader.get_device("press-1").device_id == "press-1"
refused(401, reader.create_device_with_sas, "press-9", "", "", "enabled")
refused(401, reader.get_twin, "press-1")
wrong = IoTHubRegistryManager.from_connection_string(f"HostName={place['hub']};SharedAccessKeyName=iothubowner;SharedAccessKey={place['readKey']}")
refused(401, wrong.get_device, "press-1")
registry.delete_module("press-1", "drive")
registry.delete_device("press-1")
refused(404, registry.get_twin, "press-1")
print("done")
