"""The two PKCS#11 calls that python-pkcs11 does not wrap: C_InitToken and C_InitPIN.

Called through ctypes on the very library that python-pkcs11 has initialised, so a new token
is visible at once. A token made by another process (softhsm2-util) would stay invisible
until the library is initialised again, which kills every session.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_char_p, c_ubyte, c_ulong, c_void_p
from functools import cache
from typing import Any

from labkit.errors import TokenError

_CKU_SO = 0
_CKF_RW_SESSION, _CKF_SERIAL_SESSION = 0x2, 0x4
_LABEL_LENGTH = 32  # PKCS#11 v2.40, 5.5: the label is padded with blanks to 32 bytes
_NAMES = {0x03: "CKR_SLOT_ID_INVALID", 0xA0: "CKR_PIN_INCORRECT", 0xE0: "CKR_TOKEN_NOT_PRESENT"}
"""The return values that people meet, by PKCS#11 v2.40, section 5.1."""

# The first twenty members of CK_FUNCTION_LIST, in the order that PKCS#11 v2.40 fixes.
# fmt: off
_CALLS = (
    "C_Initialize", "C_Finalize", "C_GetInfo", "C_GetFunctionList", "C_GetSlotList",
    "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken",
    "C_InitPIN", "C_SetPIN", "C_OpenSession", "C_CloseSession", "C_CloseAllSessions",
    "C_GetSessionInfo", "C_GetOperationState", "C_SetOperationState", "C_Login", "C_Logout",
)
# fmt: on


class _FunctionList(Structure):
    _fields_ = [("version", c_ubyte * 2), *((name, c_void_p) for name in _CALLS)]


@cache
def functions(path: str) -> Any:
    """The function list of a library. Asked for while its file is there: it may go afterwards."""
    table = POINTER(_FunctionList)()
    ctypes.CDLL(path).C_GetFunctionList(byref(table))
    return table.contents


def _function(path: str, name: str, *types: Any) -> Callable[..., None]:
    function = ctypes.CFUNCTYPE(c_ulong, *types)(getattr(functions(path), name))

    def call(*arguments: Any) -> None:
        if code := function(*arguments):
            known = _NAMES.get(code, "an error")
            raise TokenError(f"SoftHSM refused {name}", found=f"{known} (0x{code:x})")

    return call


def init_token(path: str, slot: int, label: str, so_pin: str) -> None:
    """Makes a token in an empty slot. Its slot gets a new number: look the token up by label."""
    init = _function(path, "C_InitToken", c_ulong, c_char_p, c_ulong, c_char_p)
    padded = label.encode().ljust(_LABEL_LENGTH)
    init(slot, so_pin.encode(), len(so_pin), padded)


def try_slot(path: str, slot: int) -> None:
    """Opens a session with the token in a slot, and closes it. Raises TokenError."""
    session = _session(path, slot, _CKF_SERIAL_SESSION)
    _function(path, "C_CloseSession", c_ulong)(session)


def init_pin(path: str, slot: int, so_pin: str, pin: str) -> None:
    """Gives a fresh token its user PIN, as its security officer."""
    session = _session(path, slot, _CKF_RW_SESSION | _CKF_SERIAL_SESSION)
    try:
        login = _function(path, "C_Login", c_ulong, c_ulong, c_char_p, c_ulong)
        login(session, _CKU_SO, so_pin.encode(), len(so_pin))
        _function(path, "C_InitPIN", c_ulong, c_char_p, c_ulong)(session, pin.encode(), len(pin))
        _function(path, "C_Logout", c_ulong)(session)
    finally:
        _function(path, "C_CloseSession", c_ulong)(session)


def _session(path: str, slot: int, flags: int) -> c_ulong:
    session = c_ulong()
    types = (c_ulong, c_ulong, c_void_p, c_void_p, POINTER(c_ulong))
    _function(path, "C_OpenSession", *types)(slot, flags, None, None, byref(session))
    return session
