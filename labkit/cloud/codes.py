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
NO_HUB = AzureError(400, 400208, "No IoT hub is linked to the provisioning service.")
POSSESSION_FAILED = "IH400053"
STALE_ETAG = AzureError(412, "IH412001", "Invalid ETag supplied.")  # azure-cli #13098
HUB_UNAUTHORIZED = AzureError(401, 401003, "IotHubUnauthorized")
