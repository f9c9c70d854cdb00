"""What service.py did is still there after the hub was killed."""

import json
import os
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    place = json.load(file)
os.environ["REQUESTS_CA_BUNDLE"] = place["trustBundle"]

from azure.iot.hub import IoTHubJobManager, IoTHubRegistryManager  # noqa: E402
from azure.iot.hub.models import QuerySpecification  # noqa: E402

CONNECTION = f"HostName={place['hub']};SharedAccessKeyName=iothubowner;SharedAccessKey={place['serviceKey']}"
registry = IoTHubRegistryManager.from_connection_string(CONNECTION)
found = registry.query_iot_hub(QuerySpecification(query="SELECT COUNT() AS n FROM devices WHERE tags.season = 'winter'"))
assert found.items[0].additional_properties["n"] == 100
assert registry.get_device("press-2").authentication.type == "selfSigned"
assert registry.get_twin(place["device"]).tags == {"ring": "early"}
jobs = IoTHubJobManager.from_connection_string(CONNECTION)
assert jobs.get_scheduled_job("tag-them").status == "completed"
assert jobs.get_scheduled_job("later").status == "cancelled"
print("done")
