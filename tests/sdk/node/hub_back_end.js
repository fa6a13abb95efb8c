// A back end's day at a hub: devices, twins, queries, a method, a job. Prints what it saw, as JSON.
// One argument: {connectionString, host, id, online}. The names of hubs lead to `host`, as a line
// in /etc/hosts would have it: this client knows no other port than 443, and no other name.
'use strict';
const dns = require('dns');
const wanted = JSON.parse(process.argv[2]);
const lookup = dns.lookup;
dns.lookup = (name, options, done) =>
  lookup(name.endsWith('.azure-devices.net') ? wanted.host : name, options, done);

const { Registry, Client, JobClient } = require('azure-iothub');
const registry = Registry.fromConnectionString(wanted.connectionString);
const body = (answer) => answer.responseBody;
const failure = (promise) =>
  promise.then(
    () => 'taken',
    (error) => error.name
  );

async function run() {
  const seen = {};
  const id = wanted.id;
  const made = body(await registry.create({ deviceId: id }));
  seen.keys = Object.values(made.authentication.symmetricKey).every((key) => key.length === 44);
  seen.exists = await failure(registry.create({ deviceId: id }));
  seen.disabled = body(await registry.update({ deviceId: id, status: 'disabled' })).status;
  seen.status = body(await registry.get(id)).status;
  const bulk = [1, 2, 3].map((number) => ({ deviceId: `${id}-${number}`, status: 'enabled' }));
  seen.bulk = body(await registry.addDevices(bulk)).isSuccessful;

  const twin = body(await registry.getTwin(id));
  const patch = { tags: { floor: '3' }, properties: { desired: { interval: 5 } } };
  const changed = body(await registry.updateTwin(id, patch, twin.etag));
  seen.twin = [changed.tags.floor, changed.properties.desired.interval];
  seen.stale = await failure(registry.updateTwin(id, patch, twin.etag));

  const query = registry.createQuery(
    `SELECT * FROM devices WHERE startswith(deviceId, '${id}-')`, 2);
  seen.found = [];
  while (query.hasMoreResults) {
    const page = await query.nextAsTwin();
    seen.found.push(...page.result.map((one) => one.deviceId));
  }

  const client = Client.fromConnectionString(wanted.connectionString);
  const method = { methodName: 'echo', payload: { n: 1 }, responseTimeoutInSeconds: 20 };
  const call = (device) => client.invokeDeviceMethod(device, { connectTimeoutInSeconds: 0, ...method });
  seen.method = (await call(wanted.online)).result;
  seen.absent = await failure(call(id));

  const jobs = JobClient.fromConnectionString(wanted.connectionString);
  const condition = `deviceId = '${wanted.online}'`;
  const start = new Date();
  await jobs.scheduleDeviceMethod(`job-${id}`, condition, method, start, 60);
  let job;
  do {
    await new Promise((resolve) => setTimeout(resolve, 50));
    job = (await jobs.getJob(`job-${id}`)).jobStatus;
  } while (['queued', 'scheduled', 'running'].includes(job.status));
  seen.job = [job.status, job.deviceJobStatistics.succeededCount];
  const listed = await jobs.createQuery('scheduleDeviceMethod').next();
  seen.jobs = listed.result.map((one) => one.jobId);

  await registry.delete(id);
  seen.gone = await failure(registry.get(id));
  return seen;
}

run().then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }))
);
