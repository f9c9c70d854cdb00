"""A module that lets through what is too hot: each message on input1 whose machine temperature is above the
desired property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert."""

import asyncio
import logging
import signal

from azure.iot.device import MethodResponse
from azure.iot.device.aio import IoTHubModuleClient
from azure.iot.device.exceptions import ConnectionDroppedError, ConnectionFailedError, OperationTimeout

from filtering import Filter

log = logging.getLogger("module")


class Module:
    """Connects the filter with the edge hub."""

    def __init__(self, client):
        self.client = client
        self.filter = Filter()

    async def start(self):
        self.client.on_connection_state_change = self.on_connection
        await self.connect()
        # The threshold first, so that no message is judged by the default one.
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

    async def on_message(self, message):
        """Filters one message."""
        if message.input_name != "input1":
            log.warning("nothing is expected on input %s", message.input_name)
            return
        alert = self.filter.alert(message)
        if alert is not None:
            await self.client.send_message_to_output(alert, "output1")
            log.info("alert: %s", alert.data.decode("utf-8"))

    async def on_desired(self, desired):
        """Takes over the desired properties, and reports what is in force now."""
        self.filter.configure(desired)
        log.info("threshold: %s", self.filter.threshold)
        await self.client.patch_twin_reported_properties({"TemperatureThreshold": self.filter.threshold})

    async def on_method(self, request):
        """Answers direct methods."""
        if request.name == "threshold":
            status, payload = 200, {"TemperatureThreshold": self.filter.threshold}
        else:
            status, payload = 404, {"error": f"there is no method {request.name}"}
        log.info("method %s: %s", request.name, status)
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
