// The Node device SDK through the doors at port 443: MQTT and AMQP in WebSockets, and HTTPS. Run with the path of a JSON file
// that says where everything is. What goes wrong ends it with a status other than 0.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');
const { Client, Message } = require('azure-iot-device');
const { AmqpWs } = require('azure-iot-device-amqp');
const { Http } = require('azure-iot-device-http');
const { MqttWs } = require('azure-iot-device-mqtt');

const place = JSON.parse(fs.readFileSync(process.argv[2]));
const ca = fs.readFileSync(place.trustBundle, 'utf8');

// Asks the service API of the cloud hub.
function service(method, path, body) {
  const expiry = Math.floor(Date.now() / 1000) + 600;
  const audience = encodeURIComponent(place.hub);
  const key = Buffer.from(place.serviceKey, 'base64');
  const digest = crypto.createHmac('sha256', key).update(`${audience}\n${expiry}`).digest('base64');
  const token = `SharedAccessSignature sr=${audience}&sig=${encodeURIComponent(digest)}&se=${expiry}&skn=iothubowner`;
  const headers = { Authorization: token, 'Content-Type': 'application/json' };
  const options = { method, host: place.hub, path: `${path}?api-version=2021-04-12`, ca, headers };
  return new Promise((resolve, reject) => {
    const request = https.request(options, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => (response.statusCode < 300 ? resolve(JSON.parse(text || 'null')) : reject(new Error(text))));
    });
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

// Registers a device below the edge device.
async function register(deviceId, authentication) {
  const { deviceScope } = await service('GET', `/devices/${place.device}`);
  return service('PUT', `/devices/${deviceId}`, { deviceId, deviceScope, authentication });
}

function message(text) {
  const made = new Message(text);
  made.messageId = text;
  made.contentType = 'text/plain';
  made.contentEncoding = 'utf-8';
  made.properties.add('room', 'kiln');
  return made;
}

// The transport over HTTPS takes no notice of a gateway, so it has the gateway for its hub.
function address(Transport, host) {
  if (Transport === Http) return `HostName=${host}`;
  return host === place.hub ? `HostName=${host}` : `HostName=${place.hub};GatewayHostName=${host}`;
}

// Without a policy for receiving, the transport over HTTPS never says that it has taken its options.
const options = { ca, http: { receivePolicy: { interval: 60 } } };

async function withKey(Transport, way, host) {
  const text = `${address(Transport, host)};DeviceId=keys;SharedAccessKey=${place.key}`;
  const client = Client.fromConnectionString(text, Transport);
  await client.setOptions(options);
  await use(client, `keys ${way} ${host}`);
}

async function withCertificate(Transport, way, host) {
  const client = Client.fromConnectionString(`${address(Transport, host)};DeviceId=vouched;x509=true`, Transport);
  const cert = fs.readFileSync(place.vouched.certificate, 'utf8');
  const key = fs.readFileSync(place.vouched.key, 'utf8');
  await client.setOptions({ ...options, cert, key });
  await use(client, `certificate ${way} ${host}`);
}

async function use(client, text) {
  await client.open();
  await client.sendEvent(message(text));
  if (text.includes(' http ')) {
    await client.sendEventBatch([message(`${text} 1`), message(`${text} 2`)]);
  } else {
    const twin = await client.getTwin();
    assert.ok(twin.properties.desired.$version >= 1);
  }
  await client.close();
}

// Fetches a message that the service sends, and takes it.
async function fetches() {
  const client = Client.fromConnectionString(`${address(Http, place.hub)};DeviceId=keys;SharedAccessKey=${place.key}`, Http);
  await client.setOptions({ ca, http: { receivePolicy: { interval: 1 } } });
  await client.open();
  const received = new Promise((resolve) => client.on('message', resolve));
  const sent = { body: Buffer.from('to you').toString('base64'), properties: { 'iothub-app-room': 'kiln' } };
  await service('POST', '/devices/keys/messages/devicebound', [sent]);
  const fetched = await received;
  assert.equal(fetched.getData().toString(), 'to you');
  // The SDK keeps the name of the header.
  assert.equal(fetched.properties.getValue('iothub-app-room'), 'kiln');
  await client.complete(fetched);
  const left = await service('GET', '/devices/keys');
  assert.equal(left.cloudToDeviceMessageCount, 0);
  await client.close();
}

async function refused(Transport, host) {
  const text = `${address(Transport, host)};DeviceId=keys;SharedAccessKey=d3Jvbmc=`;
  const client = Client.fromConnectionString(text, Transport);
  await client.setOptions(options);
  await assert.rejects(async () => {
    await client.open();
    await client.sendEvent(message('never'));
  }, (error) => error.name === 'UnauthorizedError');
}

async function main() {
  // As the SDK for services does it.
  const made = await register('keys', { symmetricKey: { primaryKey: '', secondaryKey: '' } });
  place.key = made.authentication.symmetricKey.primaryKey;
  await register('vouched', { type: 'certificateAuthority' });
  // The edge hub keeps its own connection for a device that it has seen, and the cloud hub has room for one of a device: who comes
  // to the cloud hub by itself does so before.
  for (const host of [place.hub, place.gateway]) {
    for (const [Transport, way] of [[MqttWs, 'mqtt'], [AmqpWs, 'amqp'], [Http, 'http']]) {
      await withKey(Transport, way, host);
      await withCertificate(Transport, way, host);
    }
  }
  await fetches();
  await refused(MqttWs, place.gateway);
  await refused(AmqpWs, place.gateway);
  await refused(Http, place.gateway);
}

// A promise that nothing keeps would end the process with 0.
process.exitCode = 1;
main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
