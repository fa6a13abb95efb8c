// A back end's day: makes, changes, lists and deletes enrollments. Prints what it saw, as JSON.
// One argument: {connectionString, id, certificate}.
'use strict';
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');

const wanted = JSON.parse(process.argv[2]);
const client = ProvisioningServiceClient.fromConnectionString(wanted.connectionString);
const body = (answer) => answer.responseBody || answer;

async function run() {
  const seen = {};
  const attestation = {
    type: 'x509',
    x509: { clientCertificates: { primary: { certificate: wanted.certificate } } },
  };
  const made = body(
    await client.createOrUpdateIndividualEnrollment({ registrationId: wanted.id, attestation })
  );
  seen.made = made.registrationId;
  made.provisioningStatus = 'disabled';
  const changed = body(await client.createOrUpdateIndividualEnrollment(made));
  seen.status = changed.provisioningStatus;
  seen.stale = await client.createOrUpdateIndividualEnrollment(made).then(
    () => 'taken',
    (error) => error.response.statusCode
  );
  seen.read = body(await client.getIndividualEnrollment(wanted.id)).etag === changed.etag;

  const group = { enrollmentGroupId: `${wanted.id}-group`, attestation: { type: 'symmetricKey' } };
  await client.createOrUpdateEnrollmentGroup(group);
  const mechanism = body(await client.getEnrollmentGroupAttestationMechanism(group.enrollmentGroupId));
  seen.keys = Object.keys(mechanism.symmetricKey).sort();

  const bulk = [1, 2, 3].map((number) => ({
    registrationId: `${wanted.id}-${number}`,
    attestation: { type: 'symmetricKey' },
  }));
  // Its promise never settles: it is only told to a callback (1.11.2).
  seen.bulk = await new Promise((resolve, reject) =>
    client.runBulkEnrollmentOperation({ enrollments: bulk, mode: 'create' }, (error, result) =>
      error ? reject(error) : resolve(result.isSuccessful)
    )
  );
  const query = client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2);
  seen.found = [];
  do {
    const page = await query.next(query.continuationToken);  // it forgets its own
    seen.found.push(...body(page).map((entry) => entry.registrationId));
  } while (query.hasMoreResults);

  await client.deleteIndividualEnrollment(changed);
  await client.deleteEnrollmentGroup(group.enrollmentGroupId);
  seen.gone = await client.getIndividualEnrollment(wanted.id).then(
    () => 'still there',
    (error) => error.message
  );
  return seen;
}

run().then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }))
);
