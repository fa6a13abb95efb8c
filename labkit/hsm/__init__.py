"""SoftHSM: tokens of a workspace, and keys that sign inside them."""

from labkit.hsm.key_folder import KeyFolder
from labkit.hsm.keys import Algorithm, KeyPlace, TokenEcKey, TokenKey, TokenRsaKey
from labkit.hsm.tokens import Token, TokenStore

__all__ = [
    "Algorithm",
    "KeyFolder",
    "KeyPlace",
    "Token",
    "TokenEcKey",
    "TokenKey",
    "TokenRsaKey",
    "TokenStore",
]
