"""A stand-in for a company that issues client certificates as a service: accounts, API keys,
profiles, and CAs whose keys are in a token. It has never heard of Azure, and opens no socket."""

from labkit.thirdparty.accounts import Account
from labkit.thirdparty.profiles import ClientProfile
from labkit.thirdparty.service import CertificateService, Declined

__all__ = ["Account", "CertificateService", "ClientProfile", "Declined"]
