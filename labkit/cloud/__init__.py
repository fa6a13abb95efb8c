"""The emulated services: typed request and presented chain in, typed answer or refusal out."""

from labkit.cloud.cloud import Cloud
from labkit.cloud.presented import Presented

__all__ = ["Cloud", "Presented"]
