"""What a device sends, as JSON. Python can hold more than JSON can carry."""

from __future__ import annotations

import json
from typing import Any

from labkit.errors import LabError

_CARRIED = "objects, lists, text, finite numbers, true, false and null (RFC 8259)"


def as_json(value: Any) -> str:
    """``value`` as JSON text. Raises LabError for what JSON cannot carry."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise LabError(
            "This cannot be sent as JSON",
            expected=_CARRIED,
            found=str(error),
            cure="turn it into one of these first: a set into a list, for example",
        ) from error
