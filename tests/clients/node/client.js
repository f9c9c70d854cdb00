// A device or module of the unmodified SDK. It does what it reads, a JSON object a line, and tells what came of it.
//
// Usage: node client.js '{"state": DIRECTORY, "identity": "D[/M]", "transport": NAME, "toCloud": BOOL, "certificate": {…}}'
'use strict';

const fs = require('fs');
const readline = require('readline');
const { Client, Message, ModuleClient } = require('azure-iot-device');
const amqp = require('azure-iot-device-amqp');
const { register } = require('./identity');

const TRANSPORTS = { 'amqp': amqp.Amqp, 'amqp-ws': amqp.AmqpWs };
const facts = JSON.parse(process.argv[2]);
const isModule = facts.identity.includes('/');

function tell(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function properties(message) {
  const all = {};
  for (const { key, value } of message.properties.propertyList) all[key] = value;
  return all;
}

async function open() {
  const { connectionString, trust } = await register(facts);
  const kind = isModule ? ModuleClient : Client;
  const client = kind.fromConnectionString(connectionString, TRANSPORTS[facts.transport]);
  const options = { ca: trust };
  if (facts.certificate) {
    options.cert = fs.readFileSync(facts.certificate.certificate, 'utf8');
    options.key = fs.readFileSync(facts.certificate.key, 'utf8');
  }
  await client.setOptions(options);
  client.on('error', (error) => tell({ saw: 'error', error: error.name, message: error.message }));
  client.on('disconnect', (error) => tell({ saw: 'disconnect', error: error && error.name }));
  await client.open();
  return client;
}

// Settles a message as its property `settle` says, the first time.
function receive(client) {
  const settled = new Set();
  const received = async (input, message) => {
    const seen = properties(message);
    const how = settled.has(message.messageId) ? 'complete' : seen.settle || 'complete';
    settled.add(message.messageId);
    tell({
      saw: 'message',
      input,
      body: message.getData().toString(),
      messageId: message.messageId,
      contentType: message.contentType,
      properties: seen,
    });
    await client[how](message);
  };
  if (isModule) {
    client.on('inputMessage', received);
  } else {
    client.on('message', (message) => received(undefined, message));
  }
}

let twin;

const commands = {
  async send(client, { output, body, messageId, contentType, set }) {
    const message = new Message(body);
    if (messageId) message.messageId = messageId;
    if (contentType) message.contentType = contentType;
    for (const [key, value] of Object.entries(set || {})) message.properties.add(key, value);
    if (output) await client.sendOutputEvent(output, message);
    else await client.sendEvent(message);
  },
  async many(client, { output, count, size }) {
    const body = 'x'.repeat(size);
    const one = () => (output ? client.sendOutputEvent(output, new Message(body)) : client.sendEvent(new Message(body)));
    await Promise.all(Array.from({ length: count }, one));
  },
  async receive(client) {
    receive(client);
  },
  async twin(client) {
    twin = await client.getTwin();
    return { properties: { desired: twin.properties.desired, reported: twin.properties.reported } };
  },
  async desired() {
    twin.on('properties.desired', (patch) => tell({ saw: 'desired', patch }));
  },
  async report(client, { patch }) {
    await new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
    });
  },
  async method(client, { name }) {
    const on = isModule ? 'onMethod' : 'onDeviceMethod';
    client[on](name, (request, response) => {
      tell({ saw: 'method', name, payload: request.payload });
      response.send(217, { echo: request.payload });
    });
  },
  // New times for tokens make the SDK renew its own at once.
  async renew(client) {
    await client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: 7200, tokenRenewalMarginInSeconds: 900 } });
  },
  async close(client) {
    await client.close();
  },
};

async function main() {
  const client = await open();
  tell({ did: 'open' });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      const result = await commands[command.do](client, command);
      tell({ did: command.do, ...result });
    } catch (error) {
      tell({ did: command.do, error: error.name, message: error.message });
    }
    if (command.do === 'close') break;
  }
}

main().then(() => process.exit(0), (error) => {
  tell({ did: 'open', error: error.name, message: error.message });
  process.exit(1);
});
