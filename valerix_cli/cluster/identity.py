"""Binds a context to the cluster that it was first used with.

A cluster is identified by the UID of its namespace kube-system, as is usual. The binding is stored beside the user's
config, like ssh's `known_hosts`; `cluster_uid` of a context overrides it.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.objects import Ref
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ForbiddenError
from valerix_cli.errors import CliError, GuardError
from valerix_cli.files import write_atomically
from valerix_cli.quoting import word
from valerix_cli.reasons import why

_STORE = "known-clusters.json"
_SYSTEM = Ref("v1", "Namespace", None, "kube-system")


class KnownClusters:
    """The clusters that this user's contexts have been used with: UIDs by the name of the context."""

    def __init__(self, user_config: Path) -> None:
        self.path = user_config.parent / _STORE

    def uid(self, context: str) -> str | None:
        return self._entries().get(context)

    def remember(self, context: str, uid: str) -> None:
        content = msgspec.json.format(msgspec.json.encode({**self._entries(), context: uid}), indent=1) + b"\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self.path, content, mode=0o600)
        except OSError as error:
            raise CliError(
                "The cluster could not be remembered.",
                f"{self.path}: {error.strerror}",
                "set VALERIX_CONFIG to a place of yours, or cluster_uid in the context",
            ) from error

    def _entries(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise CliError(
                "The known clusters cannot be read.", f"{self.path}: {why(error)}", "correct the file, or move it away"
            ) from error


def identities(api: Api) -> list[str]:
    """Return the identities of a cluster: its UID, if the user may read it, and the SHA-256 of its CA and address."""
    configuration = api.transport.client.configuration
    authority = Path(configuration.ssl_ca_cert).read_bytes() if configuration.ssl_ca_cert else b""
    fingerprint = "sha256:" + hashlib.sha256(authority + api.server.encode()).hexdigest()
    try:
        system = api.get(_SYSTEM)
    except ForbiddenError:
        system = None
    return [*([str(system["metadata"]["uid"])] if system else []), fingerprint]


def refuse_another_cluster(
    target: Target, find: Callable[[], list[str]], known: KnownClusters, *, remember: bool = True
) -> None:
    """Raise GuardError if the context is bound to another cluster than that of the identities from `find`.

    With `remember` an unbound context is bound to this one.
    """
    if target.named is None:
        return
    expected = target.uid or known.uid(target.named)
    if expected is None and remember:
        known.remember(target.named, find()[0])
    elif expected is not None and expected not in (found := find()):
        raise another_cluster(target, found[0], expected)


def another_cluster(target: Target, found: str, expected: str) -> GuardError:
    accepted = f"valerix --context {word(str(target.named))} cluster check --accept"
    again = "correct its cluster_uid" if target.uid else accepted
    return GuardError(
        f"{target.cluster} is not the cluster that the context `{target.named}` means.",
        f"its UID is {found}, not {expected}",
        f"kubectl config get-contexts; if it was recreated: {again}",
    )
