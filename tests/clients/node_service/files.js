// Unmodified azure-iot-device brings a file to the storage beside the hub; unmodified azure-iothub is told.
'use strict';

const assert = require('assert');
const fs = require('fs');
const { Readable } = require('stream');

const place = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { Client, Registry } = require('azure-iothub');
const device = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const connection = `HostName=${place.hub};SharedAccessKeyName=iothubowner;SharedAccessKey=${place.serviceKey}`;

async function main() {
  const made = (await Registry.fromConnectionString(connection).create({ deviceId: 'scanner' })).responseBody;
  const key = made.authentication.symmetricKey.primaryKey;
  const scanner = device.Client.fromConnectionString(`HostName=${place.hub};DeviceId=scanner;SharedAccessKey=${key}`, Mqtt);
  await scanner.setOptions({ ca: fs.readFileSync(place.trustBundle, 'utf8') });
  await scanner.open();

  const service = Client.fromConnectionString(connection);
  await service.open();
  const receiver = await new Promise((resolve, reject) => {
    service.getFileNotificationReceiver((error, found) => (error ? reject(error) : resolve(found)));
  });
  const told = new Promise((resolve) => {
    receiver.on('message', (message) => {
      receiver.complete(message);
      resolve(JSON.parse(message.getData().toString()));
    });
  });

  const body = Buffer.alloc(300000, 'scan');
  await scanner.uploadToBlob('today/scan 1.txt', Readable.from([body]), body.length);
  const notification = await told;
  assert.strictEqual(notification.deviceId, 'scanner');
  assert.strictEqual(notification.blobName, 'scanner/today/scan 1.txt');
  assert.strictEqual(notification.blobSizeInBytes, body.length);
  assert(notification.blobUri.startsWith(`https://${place.hub}/`), notification.blobUri);
  assert(Date.parse(notification.lastUpdatedTime) > 0 && Date.parse(notification.enqueuedTimeUtc) > 0);
  await scanner.close();
  await service.close();
}

main().then(() => process.exit(0)).catch((error) => {
  console.error(error);
  process.exit(1);
});
