"""Type names used in signatures."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
State: TypeAlias = dict[str, Any]
