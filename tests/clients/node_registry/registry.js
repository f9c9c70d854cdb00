// The Node service SDK at the cloud hub: devices, modules, many at once, twins. Run with the path of a JSON file that says
// where everything is.
'use strict';

const assert = require('assert');
const fs = require('fs');
const { Registry } = require('azure-iothub');

const place = JSON.parse(fs.readFileSync(process.argv[2]));

function open(policy) {
  const key = place.policies[policy];
  return Registry.fromConnectionString(`HostName=${place.hub};SharedAccessKeyName=${policy};SharedAccessKey=${key}`);
}

async function refused(name, work) {
  try {
    await work();
  } catch (error) {
    assert.strictEqual(error.name, name, error);
    return;
  }
  assert.fail(`${name} was expected`);
}

async function devices(registry) {
  const made = (await registry.create({ deviceId: 'node' })).responseBody;
  assert.strictEqual(made.authentication.symmetricKey.primaryKey.length, 44);
  assert.strictEqual(made.authentication.type, 'sas');
  await refused('DeviceAlreadyExistsError', () => registry.create({ deviceId: 'node' }));
  const changed = (await registry.update({ deviceId: 'node', status: 'disabled', statusReason: 'old' })).responseBody;
  assert.strictEqual(changed.statusReason, 'old');
  assert.ok((await registry.list()).responseBody.some((device) => device.deviceId === 'node'));
  const statistics = (await registry.getRegistryStatistics()).responseBody;
  assert.ok(statistics.totalDeviceCount >= 1 && statistics.disabledDeviceCount >= 1);
  await refused('DeviceNotFoundError', () => registry.get('nobody'));
  await refused('ArgumentError', () => registry.create({ deviceId: 'no good' }));
  await refused('UnauthorizedError', () => open('registryRead').delete('node'));
}

async function modules(registry) {
  await registry.addModule({ deviceId: 'node', moduleId: 'm' });
  assert.strictEqual((await registry.getModulesOnDevice('node')).responseBody.length, 1);
  const module = (await registry.getModule('node', 'm')).responseBody;
  module.managedBy = 'somebody';
  assert.strictEqual((await registry.updateModule(module)).responseBody.managedBy, 'somebody');
  await registry.removeModule('node', 'm');
  await assert.rejects(registry.getModule('node', 'm'));
}

async function many(registry) {
  const names = Array.from({ length: 20 }, (_, n) => ({ deviceId: `many-${n}` }));
  const made = (await registry.addDevices(names)).responseBody;
  assert.strictEqual(made.isSuccessful, true, JSON.stringify(made));
  const updated = names.map((name) => ({ ...name, status: 'disabled' }));
  assert.ok((await registry.updateDevices(updated, true)).responseBody.isSuccessful);
  assert.strictEqual((await registry.get('many-7')).responseBody.status, 'disabled');
  assert.ok((await registry.removeDevices(names, true)).responseBody.isSuccessful);
  await refused('DeviceNotFoundError', () => registry.get('many-7'));
}

async function twins(registry) {
  const twin = (await registry.getTwin('node')).responseBody;
  const patch = { tags: { site: 1 }, properties: { desired: { a: { b: 1 }, c: 2 } } };
  const changed = (await registry.updateTwin('node', patch, twin.etag)).responseBody;
  assert.deepStrictEqual(changed.tags, { site: 1 });
  assert.strictEqual(changed.properties.desired.$metadata.a.b.$lastUpdatedVersion, 2);
  await refused('InvalidEtagError', () => registry.updateTwin('node', patch, 'OTk='));
  const cleared = (await registry.updateTwin('node', { tags: null, properties: { desired: { c: null } } }, '*')).responseBody;
  assert.deepStrictEqual(cleared.tags || {}, {});
  assert.ok(!('c' in cleared.properties.desired));
}

async function main() {
  const registry = open('iothubowner');
  await devices(registry);
  await modules(registry);
  await many(registry);
  await twins(registry);
  await registry.delete('node');
}

main().catch((error) => {
  console.error(error, error && error.responseBody);
  process.exit(1);
});
