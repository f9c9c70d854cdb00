// Run with `npm test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Message } from "azure-iot-device";

import { DEFAULT_THRESHOLD, Filter } from "./filter";

function reading(temperature: unknown): Message {
  const message = new Message(JSON.stringify({ machine: { temperature } }));
  message.contentType = "application/json";
  message.properties.add("sequenceNumber", "7");
  message.properties.add("$.cdid", "device");
  return message;
}

test("hot messages become alerts and keep their properties", () => {
  const alert = new Filter().alert(reading(25.1));
  assert.ok(alert);
  assert.deepEqual(alert.properties.propertyList, [
    { key: "sequenceNumber", value: "7" },
    { key: "MessageType", value: "Alert" },
  ]);
  assert.deepEqual(alert.getBytes(), reading(25.1).getBytes());
  assert.equal(alert.contentType, "application/json");
});

test("messages at or below the threshold are dropped", () => {
  assert.equal(new Filter().alert(reading(25)), undefined);
  assert.equal(new Filter().alert(reading(-3)), undefined);
});

test("messages without a temperature are dropped", () => {
  assert.equal(new Filter().alert(reading("hot")), undefined);
  for (const body of ["[1]", "null", "not JSON"]) {
    assert.equal(new Filter().alert(new Message(body)), undefined);
  }
});

test("the threshold comes from the desired properties", () => {
  const filter = new Filter();
  filter.configure({ TemperatureThreshold: 30 });
  assert.equal(filter.alert(reading(29)), undefined);
  filter.configure({ TemperatureThreshold: "warm", $version: 2 });
  filter.configure({ $version: 3 });
  assert.equal(filter.threshold, 30);
  filter.configure({ TemperatureThreshold: null });
  assert.equal(filter.threshold, DEFAULT_THRESHOLD);
});
