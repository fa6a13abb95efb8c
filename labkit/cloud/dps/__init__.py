"""The Device Provisioning Service."""

from labkit.cloud.dps.service import ProvisioningService

__all__ = ["ProvisioningService"]
