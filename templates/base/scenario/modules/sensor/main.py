"""A module that plays sensors: what its desired properties describe leaves on the output readings, once, and again
whenever the direct method replay is called."""

import asyncio
import json
import logging
import signal

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubModuleClient
from azure.iot.device.exceptions import ConnectionDroppedError, ConnectionFailedError, OperationTimeout

from readings import Readings

log = logging.getLogger("module")


class Module:
    """Connects the readings with the edge hub."""

    def __init__(self, client):
        self.client = client
        self.description = {}
        self.playing = None
        self.loop = asyncio.get_running_loop()

    async def start(self):
        self.client.on_connection_state_change = self.on_connection
        await self.connect()
        self.client.on_twin_desired_properties_patch_received = self.on_desired
        twin = await self.client.get_twin()
        self.client.on_method_request_received = self.on_method
        await self.on_desired(twin["desired"])

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
        """Takes over what is to be played, and plays it, if that changed."""
        described = {**self.description, **{name: value for name, value in desired.items() if name[0] != "$"}}
        if described != self.description:
            self.description = described
            self.loop.call_soon_threadsafe(self.play)

    async def on_method(self, request):
        """Answers direct methods."""
        status, payload = 404, {"error": f"there is no method {request.name}"}
        if request.name == "replay":
            self.loop.call_soon_threadsafe(self.play)
            status, payload = 200, {}
        await self.client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))

    def play(self):
        """Begins from the start. The SDK calls the others in a loop of its own; this is for the module's."""
        if self.playing is not None:
            self.playing.cancel()
        self.playing = asyncio.create_task(self.send_all())

    async def send_all(self):
        """Sends all readings, as much faster than the clock as is wanted."""
        try:
            readings = Readings(self.description)
            pause = readings.step / 1000 / self.description["speed"]
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            log.error("the desired properties describe no readings: %r", error)
            return
        sent = 0
        log.info("playing %s readings", readings.count * len(readings.sources))
        for number in range(1, readings.count + 1):
            for reading in readings.at(number):
                message = Message(json.dumps(reading), content_encoding="utf-8", content_type="application/json")
                await self.client.send_message_to_output(message, "readings")
                sent += 1
            await asyncio.sleep(pause)
        log.info("played %s readings", sent)
        await self.client.patch_twin_reported_properties({"played": sent})


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
