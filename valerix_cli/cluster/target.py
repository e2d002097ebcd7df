"""The target cluster, and whether it may be written to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from valerix_cli.config import LOCAL, ContextConfig
from valerix_cli.errors import BadUsageError, GuardError
from valerix_cli.quoting import toml_string
from valerix_cli.settings import Settings, refuse_untrusted

NAMESPACE = "valerix"
OVERLAY = "local"


@dataclass(frozen=True)
class KubeContexts:
    """The contexts of a kubeconfig."""

    names: Sequence[str]
    current: str | None


@dataclass(frozen=True)
class Target:
    """A context of the kubeconfig (`cluster`), and the installation of Valerix there.

    `named` is the Valerix context that allows changes; None if there is none, so that the cluster is read-only.
    """

    cluster: str
    namespace: str
    overlay: str
    named: str | None
    uid: str | None = None
    """The UID that the cluster has to have, if the context defines one."""

    def __str__(self) -> str:
        return f"namespace {self.namespace} of {self.cluster}"


def find_target(settings: Settings, kubeconfig: Callable[[], KubeContexts]) -> Target:
    """Return the cluster of the current context, or if that is the local platform, of the kubeconfig's current context.

    Raises BadUsageError if neither is a cluster, or the context is unknown.
    """
    chosen = settings.setting("context")
    contexts = {name: config for name, (config, _) in settings.contexts.items()}
    if config := contexts.get(chosen.value):
        return _desired(chosen.value, config)
    refuse_untrusted(settings, chosen.value)
    found = kubeconfig()
    name = found.current if chosen.value == LOCAL else chosen.value
    if name not in found.names:
        raise BadUsageError(
            "No cluster is chosen." if name is None else f"Unknown context `{name}`.",
            f"neither Valerix nor the kubeconfig describes it; the kubeconfig has {', '.join(found.names) or 'none'}",
            "kubectl config use-context NAME, or valerix --context NAME cluster check",
        )
    for allowed, config in contexts.items():
        if config.cluster == name:
            return _desired(allowed, config)
    return Target(str(name), NAMESPACE, OVERLAY, None)


def _desired(name: str, config: ContextConfig) -> Target:
    if config.cluster is None:
        raise BadUsageError(
            f"The context `{name}` does not name a cluster.",
            "it names addresses, and no `cluster`",
            'valerix context list; or set cluster = "…" in it',
        )
    return Target(config.cluster, config.namespace or NAMESPACE, config.overlay or OVERLAY, name, config.cluster_uid)


def require_write_access(target: Target, settings: Settings, operation: str) -> None:
    """Raise GuardError unless a Valerix context names this cluster, so that none is changed by accident."""
    if target.named is not None:
        return
    allowed = sorted({config.cluster for config, _ in settings.contexts.values() if config.cluster})
    raise GuardError(
        f"Not done: {operation} in {target}.",
        "no context of your config or of a trusted valerix.toml names this cluster; "
        f"clusters named there: {', '.join(allowed) or 'none'}",
        f"allow it by [contexts.NAME] with cluster = {toml_string(target.cluster)} in your config, "
        "and add --context NAME",
    )
