"""Unmodified azure-iot-hub and azure-eventhub against the simulated cloud hub: messages to devices, and from them."""

import json
import os
import sys
import threading
import time

with open(sys.argv[1], encoding="utf-8") as file:
    place = json.load(file)
os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"] = place["trustBundle"]

from azure.eventhub import EventHubConsumerClient, TransportType  # noqa: E402
from azure.iot.device import IoTHubDeviceClient, Message  # noqa: E402
from azure.iot.hub import IoTHubRegistryManager  # noqa: E402

HUB, KEY = place["hub"], place["serviceKey"]
registry = IoTHubRegistryManager.from_connection_string(f"HostName={HUB};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}")
device = registry.create_device_with_sas("press-1", "", "", "enabled")
client = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={HUB};DeviceId=press-1;SharedAccessKey={device.authentication.symmetric_key.primary_key}",
    server_verification_cert=open(place["trustBundle"], encoding="utf-8").read(),
)
arrived = []
client.on_message_received = lambda message: arrived.append(message)
client.connect()


def eventually(what, test):
    """Waits until something holds."""
    deadline = time.monotonic() + 30
    while not test():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


# To the device, over AMQP of the service.
registry.send_c2d_message("press-1", "slower", {"messageId": "m-1", "correlationId": "c-1", "reason": "noise"})
eventually("the message comes", lambda: arrived)
message = arrived[0]
assert (message.data, message.message_id, message.correlation_id) == (b"slower", "m-1", "c-1")
assert message.custom_properties["reason"] == "noise"
try:
    registry.send_c2d_message("nobody", "x")
    raise AssertionError("a message to nobody was taken")
except AssertionError:
    raise
except Exception as error:  # pylint: disable=broad-except
    assert "send failure" in str(error), error

# From the device, as an Event Hubs-compatible endpoint.
BODIES = ['{ "temperature" : 21.50 }', "plain text", ""]
for number, body in enumerate(BODIES):
    sent = Message(body)
    sent.message_id = f"id-{number}"
    sent.custom_properties["number"] = str(number)
    if number == 0:
        sent.content_type, sent.content_encoding = "application/json", "utf-8"
    client.send_message(sent)
client.patch_twin_reported_properties({"pace": 4, "gone": None})


def consume(count, transport, **where):
    """Reads so many events."""
    seen = []
    consumer = EventHubConsumerClient.from_connection_string(
        f"Endpoint=sb://{HUB}/;SharedAccessKeyName=service;SharedAccessKey={place['eventKey']};EntityPath=events",
        consumer_group="$Default",
        connection_verify=place["trustBundle"],
        transport_type=transport,
        load_balancing_interval=1,
    )
    assert consumer.get_eventhub_properties()["partition_ids"] == ["0", "1", "2", "3"]

    def on_event(context, event):
        if event.system_properties.get(b"iothub-message-source") == b"Telemetry":
            seen.append((context.partition_id, event))

    thread = threading.Thread(target=lambda: consumer.receive(on_event=on_event, **where), daemon=True)
    thread.start()
    eventually(f"{count} events come, not {len(seen)}", lambda: len(seen) >= count)
    properties = consumer.get_partition_properties(seen[0][0])
    assert not properties["is_empty"] and properties["last_enqueued_sequence_number"] >= seen[-1][1].sequence_number
    consumer.close()
    thread.join(10)
    return seen


# Over a WebSocket this SDK takes seconds for each event, so it begins where ours do.
where = {"starting_position": "-1"}
for transport in (TransportType.Amqp, TransportType.AmqpOverWebsocket):
    seen = consume(len(BODIES), transport, **where)
    events = [event for _, event in seen if event.system_properties[b"iothub-connection-device-id"] == b"press-1"]
    assert [event.body_as_str() for event in events] == BODIES, [event.body_as_str() for event in events]
    assert len({partition for partition, _ in seen}) == 1, "one device, one partition"
    first = events[0]
    assert first.properties[b"number"] == b"0" and first.message_id == "id-0" and first.content_type == "application/json"
    assert json.loads(first.system_properties[b"iothub-connection-auth-method"])["scope"] == "device"
    assert first.enqueued_time is not None and first.offset == str(first.sequence_number)
    where = {"starting_position": first.sequence_number, "starting_position_inclusive": True}
    late = consume(1, transport, starting_position=events[1].sequence_number)
    assert [event.body_as_str() for _, event in late] == BODIES[2:]
client.shutdown()
print("done")
