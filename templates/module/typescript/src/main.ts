// A module that lets through what is too hot: each message on input1 whose machine temperature is above the desired
// property TemperatureThreshold leaves on output1, marked with the property MessageType: Alert.

import { setTimeout as sleep } from "node:timers/promises";

import { type DeviceMethodResponse, type Message, ModuleClient, type Twin } from "azure-iot-device";
import { Mqtt } from "azure-iot-device-mqtt";

import { Filter } from "./filter";

/** Connects the filter with the edge hub. */
class Module {
  private readonly filter = new Filter();

  constructor(private readonly client: ModuleClient) {}

  async start(): Promise<void> {
    this.client.on("disconnect", () => console.info("not connected to the hub"));
    this.client.on("error", (error: Error) => console.warn(`the connection: ${error.message}`));
    await this.connect();
    // The threshold first, so that no message is judged by the default one.
    const twin = await this.client.getTwin();
    // This hears of the properties there are as well, at once.
    twin.on("properties.desired", (desired: Record<string, unknown>) => this.onDesired(twin, desired));
    this.client.onMethod("threshold", (_request, response) => this.onThreshold(response));
    this.client.on("inputMessage", (input: string, message: Message) => void this.onMessage(input, message));
  }

  /** Connects, however long the hub takes to start. Once connected, the SDK comes back by itself. */
  private async connect(): Promise<void> {
    for (let delay = 1; ; delay = Math.min(delay * 2, 10)) {
      try {
        await this.client.open();
        console.info("connected to the hub");
        return;
      } catch (error) {
        console.warn(`not connected to the hub, trying again in ${delay} s: ${error}`);
      }
      await sleep(delay * 1000);
    }
  }

  /** Filters one message. */
  private async onMessage(input: string, message: Message): Promise<void> {
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
      console.error(`an alert could not be sent: ${error}`);
    }
  }

  /** Takes over the desired properties, and reports what is in force now. */
  private onDesired(twin: Twin, desired: Record<string, unknown>): void {
    this.filter.configure(desired);
    console.info(`threshold: ${this.filter.threshold}`);
    twin.properties.reported.update({ TemperatureThreshold: this.filter.threshold }, (error?: Error | null) => {
      if (error) console.error(`the threshold could not be reported: ${error.message}`);
    });
  }

  /** Answers the direct method that asks for the threshold. */
  private onThreshold(response?: DeviceMethodResponse): void {
    response?.send(200, { TemperatureThreshold: this.filter.threshold }, (error) => {
      if (error) console.error(`the method could not be answered: ${error.message}`);
    });
  }
}

async function main(): Promise<void> {
  const client = await ModuleClient.fromEnvironment(Mqtt);
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, async () => {
      console.info("asked to stop");
      // A hub that is gone cannot be taken leave of.
      await Promise.race([client.close().catch(() => {}), sleep(2000)]);
      process.exit(0);
    });
  }
  await new Module(client).start();
}

void main();
