// Registers a client at the simulated cloud hub, as an operator would, and tells how it connects.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const https = require('https');
const path = require('path');

function token(host, policy, key) {
  const resource = encodeURIComponent(host);
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(`${resource}\n${expiry}`);
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature.digest('base64'))}&se=${expiry}&skn=${policy}`;
}

function call(hub, method, resource, body) {
  return new Promise((resolve, reject) => {
    const options = {
      host: hub.host,
      port: hub.port,
      method,
      path: `${resource}?api-version=2021-04-12`,
      ca: hub.trust,
      headers: { 'authorization': hub.token, 'content-type': 'application/json' },
    };
    const request = https.request(options, (response) => {
      let text = '';
      response.on('data', (chunk) => { text += chunk; });
      response.on('end', () => {
        if (response.statusCode >= 300) {
          reject(new Error(`${method} ${resource}: ${response.statusCode} ${text}`));
        } else {
          resolve(JSON.parse(text));
        }
      });
    });
    request.on('error', reject);
    request.end(body && JSON.stringify(body));
  });
}

// The connection string of a client through the device's edge hub, or straight to the cloud hub, and whom to trust.
async function register({ state, identity, toCloud, certificate }) {
  const read = (name) => JSON.parse(fs.readFileSync(path.join(state, name), 'utf8'));
  const endpoints = read('endpoints.json');
  const access = read('service.json');
  const trust = fs.readFileSync(endpoints.trustBundle, 'utf8');
  const host = endpoints.hubHostName;
  const hub = { host, port: endpoints.hubHttpsPort, trust };
  hub.token = token(host, access.sharedAccessKeyName, access.sharedAccessKey);
  const [device, module] = identity.split('/');
  let registration;
  if (module) {
    const resource = `/devices/${device}/modules/${module}`;
    registration = await call(hub, 'PUT', resource, { deviceId: device, moduleId: module });
  } else {
    const edge = await call(hub, 'GET', `/devices/${endpoints.deviceId}`);
    const wanted = { deviceId: device, deviceScope: edge.deviceScope, capabilities: { iotEdge: false } };
    if (certificate) {
      const x509Thumbprint = { primaryThumbprint: certificate.thumbprint, secondaryThumbprint: certificate.thumbprint };
      wanted.authentication = { type: 'selfSigned', x509Thumbprint };
    }
    registration = await call(hub, 'PUT', `/devices/${device}`, wanted);
  }
  const proof = certificate ? 'x509=true' : `SharedAccessKey=${registration.authentication.symmetricKey.primaryKey}`;
  const parts = [`HostName=${host}`, `DeviceId=${device}`, proof];
  if (module) parts.push(`ModuleId=${module}`);
  if (!toCloud) parts.push(`GatewayHostName=${endpoints.gatewayHostName}`);
  return { connectionString: parts.join(';'), trust };
}

module.exports = { register };
