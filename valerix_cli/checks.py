"""Results of a check: of `valerix doctor` and of `valerix cluster check`."""

from typing import Literal

Status = Literal["ok", "warning", "failed", "skipped"]
