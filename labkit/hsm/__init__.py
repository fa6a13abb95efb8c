"""SoftHSM: tokens of a workspace, and keys that sign inside them."""

from labkit.hsm.keys import Algorithm, TokenEcKey, TokenKey, TokenRsaKey
from labkit.hsm.tokens import Token, TokenStore

__all__ = ["Algorithm", "Token", "TokenEcKey", "TokenKey", "TokenRsaKey", "TokenStore"]
