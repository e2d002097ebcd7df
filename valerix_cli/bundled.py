"""The folders that are distributed with the commands: `services`, `manifests` and `dashboards`.

They are beside this package in the repository, and inside it, in `platform`, in an installed wheel: `services` and
`manifests` would collide with other packages at the top level of site-packages.
"""

from pathlib import Path

_INSTALLED = Path(__file__).with_name("platform")

ROOT = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1]
