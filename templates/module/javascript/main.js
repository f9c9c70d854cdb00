// A module that lets through what is too hot: each message on input1 whose machine temperature is above the desired
// property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert.

import { setTimeout as sleep } from "node:timers/promises";

import iot from "azure-iot-device";
import transport from "azure-iot-device-mqtt";

import { Filter } from "./filter.js";

/** Connects the filter with the edge hub. */
class Module {
  filter = new Filter();

  constructor(client) {
    this.client = client;
  }

  async start() {
    this.client.on("disconnect", () => console.info("not connected to the hub"));
    this.client.on("error", (error) => console.warn(`the connection: ${error.message}`));
    await this.connect();
    // The threshold first, so that no message is judged by the default one.
    this.twin = await this.client.getTwin();
    // This hears of the properties there are as well, at once.
    this.twin.on("properties.desired", (desired) => this.onDesired(desired));
    this.client.onMethod("threshold", (request, response) => this.onThreshold(response));
    this.client.on("inputMessage", (input, message) => this.onMessage(input, message));
  }

  /** Connects, however long the hub takes to start. Once connected, the SDK comes back by itself. */
  async connect() {
    for (let delay = 1; ; delay = Math.min(delay * 2, 10)) {
      try {
        await this.client.open();
        console.info("connected to the hub");
        return;
      } catch (error) {
        console.warn(`not connected to the hub, trying again in ${delay} s: ${error.message}`);
      }
      await sleep(delay * 1000);
    }
  }

  /** Filters one message. */
  async onMessage(input, message) {
    if (input !== "input1") {
      console.warn(`nothing is expected on input ${input}`);
      return;
    }
    const alert = this.filter.alert(message);
    if (alert === undefined) return;
    try {
      await this.client.sendOutputEvent("output1", alert);
      console.info(`alert: ${alert.getBytes()}`);
    } catch (error) {
      console.error(`an alert could not be sent: ${error.message}`);
    }
  }

  /** Takes over the desired properties, and reports what is in force now. */
  onDesired(desired) {
    this.filter.configure(desired);
    console.info(`threshold: ${this.filter.threshold}`);
    this.twin.properties.reported.update({ TemperatureThreshold: this.filter.threshold }, (error) => {
      if (error) console.error(`the threshold could not be reported: ${error.message}`);
    });
  }

  /** Answers the direct method that asks for the threshold. */
  onThreshold(response) {
    response.send(200, { TemperatureThreshold: this.filter.threshold }, (error) => {
      if (error) console.error(`the method could not be answered: ${error.message}`);
    });
  }
}

const client = await iot.ModuleClient.fromEnvironment(transport.Mqtt);
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    console.info("asked to stop");
    // A hub that is gone cannot be taken leave of.
    await Promise.race([client.close().catch(() => {}), sleep(2000)]);
    process.exit(0);
  });
}
await new Module(client).start();
