"""HTTP clients of the services. They print nothing."""

import sys

# Without this, httpx imports its command line (click, pygments, all of Rich), which takes 70 ms in every command.
# httpx treats a failed import as a missing optional dependency.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None fails the import
