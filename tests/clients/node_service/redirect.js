// What command-line tools do to find the endpoint of events: SASL PLAIN, a link that is refused, and where it says to go.
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');

const place = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const rhea = require('rhea');

function token() {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const audience = encodeURIComponent(place.hub);
  const signature = crypto
    .createHmac('sha256', Buffer.from(place.serviceKey, 'base64'))
    .update(`${audience}\n${expiry}`)
    .digest('base64');
  return `SharedAccessSignature sr=${audience}&sig=${encodeURIComponent(signature)}&se=${expiry}&skn=iothubowner`;
}

function refusal(address) {
  return new Promise((resolve, reject) => {
    const connection = rhea.create_container().connect({
      transport: 'tls',
      host: place.hub,
      port: 5671,
      ca: fs.readFileSync(place.trustBundle, 'utf8'),
      username: `iothubowner@sas.root.${place.hub}`,
      password: token(),
      reconnect: false,
    });
    const receiver = connection.open_receiver({ source: { address } });
    receiver.on('receiver_error', () => {
      resolve(receiver.error);
      connection.close();
    });
    receiver.on('message', () => reject(new Error('a message came')));
    connection.on('disconnected', () => reject(new Error('the connection broke')));
    connection.on('connection_error', () => reject(connection.error));
  });
}

async function main() {
  for (const path of ['messages/events/$management', 'messages/events']) {
    const error = await refusal(`amqps://${place.hub}/${path}`);
    assert.strictEqual(error.condition, 'amqp:link:redirect');
    assert.strictEqual(error.info.hostname, place.hub);
    assert.strictEqual(error.info['network-host'], place.hub);
    assert.strictEqual(error.info.port, 5671);
    assert.strictEqual(error.info.address, `amqps://${place.hub}:5671/events/$management`);
  }
}

main().then(() => process.exit(0)).catch((error) => {
  console.error(error);
  process.exit(1);
});
