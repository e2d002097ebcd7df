"""The contexts of the kubeconfig, as the `kubernetes` package reads it."""

import contextlib
from collections.abc import Iterator
from typing import Any

from valerix_cli.cluster.overlays import INSTALL
from valerix_cli.cluster.target import KubeContexts
from valerix_cli.errors import BadUsageError, UnreachableError
from valerix_cli.reasons import why

AT_ONCE = 16
"""Maximum number of concurrent requests, each on its own connection."""


@contextlib.contextmanager
def kubernetes_errors() -> Iterator[None]:
    """Convert the errors of the `kubernetes` package about a kubeconfig to CliError."""
    try:
        from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415 - slow to import
    except ImportError as error:
        raise UnreachableError("A package is missing.", f"no module named {error.name!r}", INSTALL) from None
    try:
        yield
    except ConfigException as error:
        raise BadUsageError(
            "The kubeconfig is invalid.", why(error), "kubectl config view; KUBECONFIG names the file"
        ) from error


def kube_contexts() -> KubeContexts:
    """Return the contexts of the kubeconfig. Raises BadUsageError if it cannot be read or has none."""
    with kubernetes_errors():
        from kubernetes import config  # noqa: PLC0415 - slow to import

        contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]  # the package is not typed
        return KubeContexts([one["name"] for one in contexts], current["name"] if current else None)


def client_of(name: str) -> Any:
    """Return a client of the `kubernetes` package for one context, without a request. Raises BadUsageError."""
    with kubernetes_errors():
        from kubernetes import client, config  # noqa: PLC0415 - slow to import

        configuration = client.Configuration()
        configuration.retries = False
        configuration.connection_pool_maxsize = AT_ONCE
        return config.new_client_from_config(  # type: ignore[no-untyped-call]  # the same
            context=name, client_configuration=configuration, persist_config=False
        )
