"""A module that finds what matters in readings: those on the input readings are judged by the rule in its desired
properties, and what it finds leaves on the output alerts. Nothing else of a reading does."""

import asyncio
import json
import logging
import signal

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubModuleClient
from azure.iot.device.exceptions import ConnectionDroppedError, ConnectionFailedError, OperationTimeout

from rules import Detector

log = logging.getLogger("module")


class Module:
    """Connects the detector with the edge hub."""

    def __init__(self, client):
        self.client = client
        self.rule = {}
        self.detector = None
        self.alerts = 0

    async def start(self):
        self.client.on_connection_state_change = self.on_connection
        await self.connect()
        # The rule first, so that no reading is judged without it.
        self.client.on_twin_desired_properties_patch_received = self.on_desired
        twin = await self.client.get_twin()
        await self.on_desired(twin["desired"])
        self.client.on_method_request_received = self.on_method
        self.client.on_message_received = self.on_message

    async def connect(self):
        """Connects, however long the hub takes to start. Once connected, the SDK comes back by itself."""
        delay = 1
        while True:
            try:
                await self.client.connect()
                return
            except (ConnectionFailedError, ConnectionDroppedError, OperationTimeout) as error:
                log.warning("not connected to the hub, trying again in %s s: %s", delay, repr(error.__cause__ or error))
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10)

    async def on_connection(self):
        log.info("connected to the hub" if self.client.connected else "not connected to the hub")

    async def on_desired(self, desired):
        """Takes over the rule, and reports which one is in force now. What was seen before is forgotten with it."""
        rule = {**self.rule, **{name: value for name, value in desired.items() if name[0] != "$"}}
        if rule == self.rule:
            return
        try:
            self.detector = Detector(rule)
        except (KeyError, TypeError, ValueError) as error:
            log.error("the desired properties have no rule: %r", error)
            return
        self.rule = rule
        log.info("rule: %s", json.dumps(rule))
        await self.client.patch_twin_reported_properties({"rule": rule.get("name")})

    async def on_message(self, message):
        """Judges one reading."""
        if message.input_name != "readings" or self.detector is None:
            log.warning("nothing is expected on input %s, or there is no rule yet", message.input_name)
            return
        try:
            found = self.detector.take(json.loads(message.data))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("a message that is no reading was dropped: %r", error)
            return
        for alert in found:
            text = json.dumps(alert)
            sent = Message(text, content_encoding="utf-8", content_type="application/json")
            sent.custom_properties["MessageType"] = "Alert"
            await self.client.send_message_to_output(sent, "alerts")
            self.alerts += 1
            log.info("alert: %s", text)

    async def on_method(self, request):
        """Answers direct methods."""
        status, payload = 404, {"error": f"there is no method {request.name}"}
        if request.name == "alerts":
            status, payload = 200, {"alerts": self.alerts}
        await self.client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))


async def main():
    logging.basicConfig(format="[%(levelname)s %(name)s] %(message)s", level=logging.INFO)
    # The SDK warns of every lost connection with a stack; on_connection says the same in a line.
    logging.getLogger("azure").setLevel(logging.ERROR)

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)

    client = IoTHubModuleClient.create_from_edge_environment()
    try:
        starting = asyncio.create_task(Module(client).start())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        await stopping
        log.info("asked to stop")
    finally:
        await client.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
