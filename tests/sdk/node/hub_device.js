// A device on its hub. Prints what it has, and what reaches it, one line of JSON each; goes on until
// its standard input ends. One argument: {transport, hub, host, id, cert, key, settle}. All names
// lead to `host`, as a line in /etc/hosts would have it. `settle` is how it settles messages.
'use strict';
const dns = require('dns');
const fs = require('fs');
const net = require('net');
const wanted = JSON.parse(process.argv[2]);
const lookup = dns.lookup;
dns.lookup = (name, options, done) => lookup(net.isIP(name) ? name : wanted.host, options, done);

const { Client, Message } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');

const Transport = { http: Http, mqtt: Mqtt, 'mqtt-ws': MqttWs }[wanted.transport];
const tell = (what) => console.log(JSON.stringify(what));
const client = Client.fromConnectionString(
  `HostName=${wanted.hub};DeviceId=${wanted.id};x509=true`, Transport);

function fail(error) {
  tell({ error: error.name, message: error.message });
  process.exit(0);
}

function received(message) {
  const properties = message.properties.propertyList.map(({ key, value }) => [key, value]);
  client[wanted.settle || 'complete'](message, (error) =>
    tell({ message: message.data.toString(), id: message.messageId, properties, error })
  );
}

async function listenOverMqtt() {
  client.onDeviceMethod('echo', (request, response) =>
    response.send(207, { got: request.payload }, (error) => error && fail(error))
  );
  const twin = await client.getTwin();
  const report = (patch) =>
    new Promise((resolve, reject) =>
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()))
    );
  await report({ firmware: '1.0' });
  twin.on('properties.desired', (desired) => tell({ desired }));
}

async function run() {
  await client.setOptions({
    cert: fs.readFileSync(wanted.cert, 'utf8'),
    key: fs.readFileSync(wanted.key, 'utf8'),
    http: { receivePolicy: { interval: 1 } },  // else its promise never settles (1.14.4)
  });
  await client.open();
  const message = new Message(JSON.stringify({ temperature: 21.5 }));
  message.messageId = 'm 1';
  message.properties.add('floor', '3');
  await client.sendEvent(message);
  if (wanted.transport !== 'http') await listenOverMqtt();
  client.on('message', received);
  tell({ ready: true });
}

client.on('error', fail);
process.stdin.on('end', () => client.close(() => process.exit(0)));
process.stdin.resume();
run().catch(fail);
