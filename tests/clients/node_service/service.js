// Unmodified azure-iothub and @azure/event-hubs against the simulated cloud hub.
'use strict';

const assert = require('assert');
const fs = require('fs');

const place = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { Client, JobClient, Registry } = require('azure-iothub');
const { Message } = require('azure-iot-common');
const { EventHubConsumerClient } = require('@azure/event-hubs');
const device = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const connection = `HostName=${place.hub};SharedAccessKeyName=iothubowner;SharedAccessKey=${place.serviceKey}`;
const registry = Registry.fromConnectionString(connection);

async function eventually(what, test) {
  const deadline = Date.now() + 30000;
  for (;;) {
    const found = await test();
    if (found) return found;
    assert(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function refused(name, promise) {
  try {
    await promise;
  } catch (error) {
    assert.strictEqual(error.name, name, `${error.name}: ${error.message}`);
    return;
  }
  assert.fail(`${name} was expected`);
}

async function registryAndTwins() {
  const made = (await registry.create({ deviceId: 'press-1' })).responseBody;
  assert.strictEqual(made.authentication.type, 'sas');
  await refused('DeviceAlreadyExistsError', registry.create({ deviceId: 'press-1' }));
  await refused('DeviceNotFoundError', registry.get('nowhere'));
  await registry.addModule({ deviceId: 'press-1', moduleId: 'drive' });
  assert.deepStrictEqual((await registry.getModulesOnDevice('press-1')).responseBody.map((m) => m.moduleId), ['drive']);
  const many = [1, 2, 3].map((n) => ({ deviceId: `bulk-${n}` }));
  assert((await registry.addDevices(many)).responseBody.isSuccessful);
  assert((await registry.removeDevices([{ deviceId: 'bulk-3' }], true)).responseBody.isSuccessful);
  assert.strictEqual((await registry.list()).responseBody.length, 4);
  const statistics = (await registry.getRegistryStatistics()).responseBody;
  assert.strictEqual(statistics.totalDeviceCount, 4);

  const twin = (await registry.getTwin('press-1')).responseBody;
  const patch = { tags: { hall: 'north' }, properties: { desired: { speed: 3 } } };
  const changed = (await registry.updateTwin('press-1', patch, twin.etag)).responseBody;
  assert.strictEqual(changed.properties.desired.speed, 3);
  await refused('InvalidEtagError', registry.updateTwin('press-1', { tags: { x: 1 } }, 'MTIz'));

  const query = registry.createQuery("SELECT * FROM devices WHERE tags.hall = 'north'", 10);
  assert.deepStrictEqual((await query.nextAsTwin()).result.map((t) => t.deviceId), ['press-1']);
  assert(!query.hasMoreResults);
  const paged = registry.createQuery('SELECT deviceId FROM devices', 3);
  const first = (await paged.next()).result;
  assert.strictEqual(first.length, 3);
  assert(paged.hasMoreResults);
  assert.strictEqual((await paged.next(paged.continuationToken)).result.length, 1);
}

async function configurations() {
  const wanted = {
    id: 'pace',
    content: { deviceContent: { 'properties.desired.pace': 5 } },
    targetCondition: "tags.hall = 'north'",
    priority: 3,
    labels: { by: 'test' },
    metrics: { queries: { pressed: "SELECT deviceId FROM devices WHERE tags.hall = 'north'" } },
  };
  await registry.addConfiguration(wanted);
  const made = (await registry.getConfiguration('pace')).responseBody;
  assert.strictEqual(made.systemMetrics.results.appliedCount, 1);
  assert.strictEqual(made.metrics.results.pressed, 1);
  assert.strictEqual((await registry.getTwin('press-1')).responseBody.properties.desired.pace, 5);
  made.priority = 9;
  assert.strictEqual((await registry.updateConfiguration(made, true)).responseBody.priority, 9);
  await registry.removeConfiguration('pace');
  assert.deepStrictEqual((await registry.getConfigurations()).responseBody, []);
}

async function messages(transport, id) {
  const key = (await registry.get('press-1')).responseBody.authentication.symmetricKey.primaryKey;
  const press = device.Client.fromConnectionString(`HostName=${place.hub};DeviceId=press-1;SharedAccessKey=${key}`, Mqtt);
  await press.setOptions({ ca: fs.readFileSync(place.trustBundle, 'utf8') });
  const arrived = [];
  await press.open();
  press.on('message', (message) => {
    arrived.push(message.getData().toString());
    press.complete(message);
  });
  press.onDeviceMethod('echo', (request, response) => response.send(200, { echo: request.payload }));

  const client = Client.fromConnectionString(connection, transport);
  await client.open();
  const receiver = await new Promise((resolve, reject) => {
    client.getFeedbackReceiver((error, found) => (error ? reject(error) : resolve(found)));
  });
  const feedback = [];
  receiver.on('message', (message) => {
    feedback.push(...JSON.parse(message.getData().toString()));
    receiver.complete(message);
  });
  const answer = await eventually('the method is answered', async () => {
    try {
      return (await client.invokeDeviceMethod('press-1', { methodName: 'echo', payload: { x: 1 }, connectTimeoutInSeconds: 5 })).result;
    } catch (error) {
      return undefined;
    }
  });
  assert.deepStrictEqual(answer, { status: 200, payload: { echo: { x: 1 } } });
  const message = new Message('slower');
  message.messageId = id;
  message.ack = 'full';
  await client.send('press-1', message);
  await eventually('the message comes', () => arrived.includes('slower'));
  const told = await eventually('feedback comes', () => feedback.find((record) => record.originalMessageId === id));
  assert.deepStrictEqual([told.statusCode, told.deviceId], ['Success', 'press-1']);
  await assert.rejects(client.send('nobody', new Message('x')));
  await press.sendEvent(new device.Message(JSON.stringify({ from: id })));
  await client.close();
  await press.close();
}

async function endpoint() {
  const endpointOf = `Endpoint=sb://${place.hub}/;SharedAccessKeyName=service;SharedAccessKey=${place.eventKey};EntityPath=events`;
  const consumer = new EventHubConsumerClient('$Default', endpointOf);
  assert.deepStrictEqual(await consumer.getPartitionIds(), ['0', '1', '2', '3']);
  const seen = [];
  const subscription = consumer.subscribe(
    {
      processEvents: async (events) => seen.push(...events),
      processError: async (error) => assert.fail(error),
    },
    { startPosition: { offset: '-1' } },
  );
  const mine = () =>
    seen.filter(
      ({ systemProperties: told }) =>
        told['iothub-connection-device-id'] === 'press-1' && told['iothub-message-source'] === 'Telemetry',
    );
  await eventually('events come', () => mine().length >= 2);
  await subscription.close();
  await consumer.close();
  const bodies = mine().map((event) => (Buffer.isBuffer(event.body) ? event.body.toString() : JSON.stringify(event.body)));
  assert.deepStrictEqual(bodies, ['{"from":"c-amqp"}', '{"from":"c-ws"}']);
  // What is told of identities and connections comes where a route says so.
  const sources = new Set(seen.map((event) => event.systemProperties['iothub-message-source']));
  sources.delete('Telemetry');
  sources.delete('twinChangeEvents');
  assert.deepStrictEqual([...sources], []);
}

async function jobs() {
  const client = JobClient.fromConnectionString(connection);
  await client.scheduleTwinUpdate('tag', "STARTS_WITH(deviceId, 'bulk-')", { etag: '*', tags: { season: 'winter' } }, new Date(), 60);
  const done = await eventually('the job ends', async () => {
    const job = (await client.getJob('tag')).jobStatus || (await client.getJob('tag')).responseBody;
    return job.status === 'completed' && job;
  });
  assert.strictEqual(done.deviceJobStatistics.succeededCount, 2);
}

async function main() {
  const { Amqp } = require('azure-iothub/dist/amqp.js');
  const { AmqpWs } = require('azure-iothub/dist/amqp_ws.js');
  await registryAndTwins();
  await configurations();
  await messages(Amqp, 'c-amqp');
  await messages(AmqpWs, 'c-ws');
  await endpoint();
  await jobs();
  console.log('done');
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
