"""Azure's refusals, as they were seen on the wire; the source is named where it is public.

Where Azure's choice among several texts is not documented, docs/differences-from-azure.md
says so.
"""

from labkit.errors import AzureError

UNAUTHORIZED = AzureError(401, 401002, "Unauthorized")
CA_NOT_FOUND = AzureError(401, 401002, "CA certificate not found.")  # sdk-csharp #1040
INVALID_CERTIFICATE = AzureError(401, 401002, "Invalid certificate.")
NO_SUCH_OPERATION = AzureError(404, 404202, "Operation not found.")
BAD_REQUEST = AzureError(400, 400004, "Invalid request.")
SIGNING_MISMATCH = AzureError(
    401, 401002, "Signing certificate info did not match chain elements."
)  # iotedge #2739
NO_SUCH_ENROLLMENT = AzureError(404, 404201, "Enrollment not found.")
NO_SUCH_REGISTRATION = AzureError(404, 404202, "Registration not found.")
NO_SUCH_RESOURCE = AzureError(404, 404203, "Resource not found.")
ENROLLMENT_EXISTS = AzureError(409, 409201, "Enrollment already exists.")
AT_WORK = AzureError(409, 409203, "Precondition failed.")  # sdk-c common_prov_e2e.c
STALE_ENTRY = AzureError(412, 412201, "Precondition failed.")
NO_JSON = AzureError(415, 415001, "Unsupported media type.")
TOO_MANY = AzureError(400, 400203, "The quota of the provisioning service is exceeded.")
THROTTLED = AzureError(429, 429001, "Too many requests.")

# How custom allocation fails: iot-dps how-to-use-custom-allocation-policies, troubleshooting
ALLOCATION_FAILED = AzureError(400, 400207, "Custom allocation failed.")
NO_HUB = AzureError(400, 400208, "No IoT hub was specified for the device.")
HUB_REFUSED = AzureError(400, 400209, "Custom allocation was not authorized.")
POSSESSION_FAILED = "IH400053"
STALE_ETAG = AzureError(412, "IH412001", "Invalid ETag supplied.")  # azure-cli #13098
HUB_UNAUTHORIZED = AzureError(401, 401003, "IotHubUnauthorized")

# IoT Hub. What is said of methods: iotedge #98, azure-iot-sdk-c #717
NOT_ONLINE = AzureError(404, 404103, "Timed out waiting for device to connect.")
NO_ANSWER = AzureError(504, 504101, "Timed out waiting for the response from device.")
NO_SUCH_DEVICE = AzureError(404, 404001, "DeviceNotFound")
TWIN_CHANGED = AzureError(412, 412001, "PreconditionFailed")
LOCK_LOST = AzureError(412, 412002, "DeviceMessageLockLost")
QUEUE_FULL = AzureError(403, 403004, "DeviceMaximumQueueDepthExceeded")
DISPLACED = AzureError(400, 400027, "ConnectionForcefullyClosedOnNewConnection")
DEVICE_EXISTS = AzureError(409, 409001, "DeviceAlreadyExists")
IDENTITY_CHANGED = AzureError(412, 412001, "PreconditionFailed")
ACCESS_DENIED = AzureError(401, 401002, "IotHubUnauthorizedAccess")
NO_SUCH_JOB = AzureError(404, 404002, "JobNotFound")
JOB_EXISTS = AzureError(409, 409002, "JobAlreadyExists")
TOO_MANY_DEVICES = AzureError(413, 413002, "TooManyDevices")

# Certificate management. What DPS says of a request is not public; what the hub says is
# (azure-iot-sdk-csharp, csr-scenarios.md; the names of its codes: azure-iot-sdk-java)
CSR_REFUSED = AzureError(400, 400004, "Invalid certificate signing request.")
NOT_ISSUED = AzureError(400, 400004, "No certificate can be issued for the device.")
CANNOT_DECODE = AzureError(400, 400006, "The request is not valid JSON.")
CSR_UNVERIFIED = AzureError(400, 400037, "CSR did not pass verification")
CREDENTIAL_FAILED = AzureError(400, 400040, "CredentialOperationFailed")
CREDENTIAL_PENDING = AzureError(409, 409004, "CredentialOperationPending")
CREDENTIAL_ACTIVE = AzureError(409, 409005, "CredentialOperationActive")
NOTHING_TO_REPLACE = AzureError(412, 412001, "PreconditionFailed")
CREDENTIAL_BACKLOG = AzureError(429, 429002, "ThrottleBacklogLimitExceeded")
SERVER_ERROR = AzureError(500, 500001, "ServerError")
UNAVAILABLE = AzureError(503, 503001, "ServiceUnavailable")
