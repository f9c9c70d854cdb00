// The Node provisioning clients, of devices and of those who manage enrolments. Run with the path of a JSON file that says
// where everything is.
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt, MqttWs } = require('azure-iot-provisioning-device-mqtt');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');
const { Client } = require('azure-iot-device');
const DeviceMqtt = require('azure-iot-device-mqtt').Mqtt;

const place = JSON.parse(fs.readFileSync(process.argv[2]));
const policy = 'provisioningserviceowner';
const manager = ProvisioningServiceClient.fromConnectionString(
  `HostName=${place.hub};SharedAccessKeyName=${policy};SharedAccessKey=${place.policies[policy]}`,
);

function register(transport, security) {
  return ProvisioningDeviceClient.create(place.hub, place.idScope, new transport(), security).register();
}

async function refused(work) {
  await assert.rejects(work, (error) => error.name !== 'AssertionError');
}

async function keys() {
  const made = (
    await manager.createOrUpdateIndividualEnrollment({
      registrationId: 'node-1',
      attestation: { type: 'symmetricKey' },
      initialTwin: { tags: { by: 'node' }, properties: { desired: { a: 1 } } },
    })
  ).responseBody;
  const key = made.attestation.symmetricKey.secondaryKey;
  for (const transport of [Http, Mqtt, MqttWs]) {
    const state = await register(transport, new SymmetricKeySecurityClient('node-1', key));
    assert.strictEqual(state.deviceId, 'node-1');
    assert.strictEqual(state.assignedHub, place.hub);
    await refused(() => register(transport, new SymmetricKeySecurityClient('node-1', place.policies.device)));
    await refused(() => register(transport, new SymmetricKeySecurityClient('nobody', key)));
  }
  const client = Client.fromConnectionString(`HostName=${place.hub};DeviceId=node-1;SharedAccessKey=${key}`, DeviceMqtt);
  await client.open();
  assert.strictEqual((await client.getTwin()).properties.desired.a, 1);
  await client.close();
  made.provisioningStatus = 'disabled';
  await manager.createOrUpdateIndividualEnrollment(made);
  await refused(() => register(Http, new SymmetricKeySecurityClient('node-1', key)));
  const state = (await manager.getDeviceRegistrationState('node-1')).responseBody;
  assert.strictEqual(state.status, 'disabled');
}

async function group() {
  const made = (
    await manager.createOrUpdateEnrollmentGroup({ enrollmentGroupId: 'node-group', attestation: { type: 'symmetricKey' } })
  ).responseBody;
  const master = Buffer.from(made.attestation.symmetricKey.primaryKey, 'base64');
  const key = crypto.createHmac('sha256', master).update('node-2').digest('base64');
  assert.strictEqual((await register(Http, new SymmetricKeySecurityClient('node-2', key))).deviceId, 'node-2');
  const items = (await manager.createEnrollmentGroupQuery({ query: '*' }, 10).next()).responseBody;
  assert.ok(items.some((item) => item.enrollmentGroupId === 'node-group'));
  await manager.deleteEnrollmentGroup('node-group');
  await assert.rejects(manager.getEnrollmentGroup('node-group'));
}

async function certificate() {
  const own = place.certificates.node;
  const read = (name) => fs.readFileSync(own[name]).toString();
  const attestation = { type: 'x509', x509: { clientCertificates: { primary: { certificate: read('certificate') } } } };
  await manager.createOrUpdateIndividualEnrollment({ registrationId: 'node', attestation });
  for (const transport of [Http, Mqtt]) {
    const security = new X509Security('node', { cert: read('certificate'), key: read('key') });
    assert.strictEqual((await register(transport, security)).deviceId, 'node');
  }
}

keys()
  .then(group)
  .then(certificate)
  .then(() => process.exit(0))
  .catch((error) => {
    console.error(error, error && error.responseBody);
    process.exit(1);
  });
