"""Unmodified azure-iot-device and azure-storage-blob: a device brings files to the storage beside the hub."""

import base64
import json
import os
import sys
import uuid

with open(sys.argv[1], encoding="utf-8") as file:
    place = json.load(file)
os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = place["trustBundle"]
with open(place["trustBundle"], encoding="utf-8") as file:
    TRUSTED = file.read()

from azure.core.exceptions import HttpResponseError  # noqa: E402
from azure.iot.device import IoTHubDeviceClient  # noqa: E402
from azure.iot.hub import IoTHubRegistryManager  # noqa: E402
from azure.storage.blob import BlobBlock, BlobClient  # noqa: E402

CONNECTION = f"HostName={place['hub']};SharedAccessKeyName=iothubowner;SharedAccessKey={place['serviceKey']}"
registry = IoTHubRegistryManager.from_connection_string(CONNECTION)
key = registry.create_device_with_sas("camera", "", "", "enabled").authentication.symmetric_key.primary_key
device = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={place['hub']};DeviceId=camera;SharedAccessKey={key}", server_verification_cert=TRUSTED
)
device.connect()


def begin(name):
    storage = device.get_storage_info_for_blob(name)
    assert storage["blobName"] == f"camera/{name}" and storage["hostName"] == place["hub"], storage
    url = f"https://{storage['hostName']}/{storage['containerName']}/{storage['blobName']}{storage['sasToken']}"
    return storage, BlobClient.from_blob_url(url, connection_verify=place["trustBundle"])


# In one piece, and read again.
storage, blob = begin("one picture.jpg")
body = os.urandom(6 * 1024 * 1024)
blob.upload_blob(body)
assert blob.get_blob_properties().size == len(body)
device.notify_blob_upload_status(storage["correlationId"], True, 201, "Created")

# In blocks, which become a file when their list comes.
storage, blob = begin("blocks/of.bin")
names = [base64.b64encode(f"{number:06}".encode()).decode() for number in range(3)]
for number, name in enumerate(names):
    blob.stage_block(name, bytes([number]) * 1000)
try:
    blob.get_blob_properties()
    raise AssertionError("it is there before its list")
except HttpResponseError as error:
    assert error.status_code == 404, error
blob.commit_block_list([BlobBlock(name) for name in reversed(names)])
assert blob.get_blob_properties().size == 3000
device.notify_blob_upload_status(storage["correlationId"], True, 201, "Created")

# Whoever has leave for one file has none for others, and none without a signature.
other = BlobClient.from_blob_url(
    blob.url.replace("of.bin", "other.bin"), connection_verify=place["trustBundle"]
)
try:
    other.upload_blob(b"x")
    raise AssertionError("it was not refused")
except HttpResponseError as error:
    assert error.status_code == 403, error

# A correlation that is none.
try:
    device.notify_blob_upload_status(str(uuid.uuid4()), True, 200, "OK")
    raise AssertionError("it was not refused")
except Exception as error:  # The SDK has an error of its own for each case.
    assert "404" in str(error) or "404" in str(error.__cause__), repr(error)
device.shutdown()
