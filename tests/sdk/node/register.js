// Registers a device with DPS and prints what it is told, or why it was refused.
// One argument: {transport, host, scope, id, cert, key} or {…, symmetricKey}, as JSON.
'use strict';
const fs = require('fs');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt, MqttWs } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const wanted = JSON.parse(process.argv[2]);
const transport = new { http: Http, mqtt: Mqtt, 'mqtt-ws': MqttWs }[wanted.transport]();
const proof = wanted.symmetricKey
  ? new SymmetricKeySecurityClient(wanted.id, wanted.symmetricKey)
  : new X509Security(wanted.id, {
      cert: fs.readFileSync(wanted.cert, 'utf8'),
      key: fs.readFileSync(wanted.key, 'utf8'),
    });
const client = ProvisioningDeviceClient.create(wanted.host, wanted.scope, transport, proof);
client.register((error, result) => {
  const told = error
    ? { error: error.name, message: error.message, result: error.result }
    : { hub: result.assignedHub, device: result.deviceId, status: result.status };
  console.log(JSON.stringify(told));
  process.exit(0);
});
