"""HTTP clients of the services. They print nothing."""

import sys

# httpx has a command line, whose imports (click, pygments, all of Rich) cost every command of ours 70 ms.
# It does without where it cannot be imported, as it does where those are not installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is how to say so
