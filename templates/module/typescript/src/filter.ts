// What the module does with a message. No network here: this is the part to change, and to test.

import { Message } from "azure-iot-device";

export const DEFAULT_THRESHOLD = 25;

/** Lets through messages whose machine temperature is above a threshold. */
export class Filter {
  threshold = DEFAULT_THRESHOLD;

  /** Takes the threshold from a twin or a patch; one that does not name it leaves it, null resets it. */
  configure(desired: Record<string, unknown>): void {
    const value = desired["TemperatureThreshold"];
    if (value === undefined) return;
    if (value === null) this.threshold = DEFAULT_THRESHOLD;
    else if (typeof value === "number") this.threshold = value;
    else console.warn(`TemperatureThreshold must be a number, not ${JSON.stringify(value)}: it stays at ${this.threshold}`);
  }

  /** The alert for a message, or undefined if it is not above the threshold. */
  alert(message: Message): Message | undefined {
    let body;
    try {
      body = JSON.parse(message.getBytes().toString("utf8"));
    } catch (error) {
      console.warn(`a message that is not JSON was dropped: ${error}`);
      return undefined;
    }
    const temperature: unknown = body?.machine?.temperature;
    if (typeof temperature !== "number" || temperature <= this.threshold) return undefined;
    const alert = new Message(message.getBytes());
    alert.messageId = message.messageId;
    alert.correlationId = message.correlationId;
    alert.contentType = message.contentType;
    alert.contentEncoding = message.contentEncoding;
    for (const { key, value } of message.properties.propertyList) {
      // Those whose names start with "$." were set by the hub, and only it may set them.
      if (!key.startsWith("$.")) alert.properties.add(key, value);
    }
    alert.properties.add("MessageType", "Alert");
    return alert;
  }
}
