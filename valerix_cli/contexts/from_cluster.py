"""The context of a cluster: its services by forwarded ports, its tokens from secrets."""

import atexit
import os
from urllib.parse import quote, urlencode

from valerix_cli.cluster import secrets
from valerix_cli.cluster.api import Api, connect
from valerix_cli.cluster.forward import Forwards, urls
from valerix_cli.cluster.identity import KnownClusters, identities, refuse_another_cluster
from valerix_cli.cluster.objects import Ref
from valerix_cli.cluster.target import NAMESPACE, OVERLAY, Target
from valerix_cli.config import ContextConfig
from valerix_cli.contexts.model import Context
from valerix_cli.errors import GuardError, UnreachableError
from valerix_cli.local.ports import LOOPBACK
from valerix_cli.settings import user_config

PORTS = {"order": 3001, "inventory": 3002, "worker": 3003}
_POSTGRES, _REDIS = 5432, 6379


def reach(name: str, config: ContextConfig, origin: str) -> Context:
    """Open the ports, until the command ends, and return the context. Raises UnreachableError, GuardError."""
    namespace = config.namespace or NAMESPACE
    api = connect(str(config.cluster))
    target = Target(str(config.cluster), namespace, config.overlay or OVERLAY, name, config.cluster_uid)
    refuse_another_cluster(target, lambda: identities(api), KnownClusters(user_config(os.environ)), remember=False)
    forwards = Forwards(api, str(config.cluster), namespace)
    atexit.register(forwards.close)
    services = {service: urls(forwards.open(service, port)) for service, port in PORTS.items()}
    tokens = _opened(api, namespace, "tokens")
    return Context(
        name,
        services,
        tokens["operator-token"],
        f"secret tokens of namespace {namespace}",
        origin,
        tokens["service-tokens"].split(",")[0],
        *databases_of(api, namespace, forwards),
        cache_of(api, namespace, forwards),
        forwards=forwards,
    )


def _opened(api: Api, namespace: str, name: str) -> dict[str, str]:
    found = api.get(Ref("v1", "Secret", namespace, name))
    if found is None:
        raise UnreachableError(
            f"Secret not found: {name} in namespace {namespace}.", "nothing was applied there", "valerix cluster apply"
        )
    return secrets.opened(found)


def databases_of(api: Api, namespace: str, forwards: Forwards) -> tuple[str | None, str | None]:
    """Return the auditor's addresses of both databases; None if PostgreSQL or its password cannot be read.

    libpq uses TLS if the server offers it, without verification: libpq reads an authority from a file only, and no
    certificate names this machine's port. The API server has authenticated the pod.
    """
    try:
        password = _opened(api, namespace, "postgres-auditor")["password"]
        port = forwards.open("postgres", _POSTGRES, sessions=True)[0]
    except (UnreachableError, GuardError):
        return None, None
    user = f"auditor:{quote(password, safe='')}"
    return tuple(f"postgresql://{user}@{LOOPBACK}:{port}/{name}" for name in ("order_db", "inventory_db"))  # type: ignore[return-value]  # two of them


def cache_of(api: Api, namespace: str, forwards: Forwards) -> str | None:
    """Return the address of the response cache; None if Redis is not one of our pods, or its password is unreadable."""
    try:
        password = _opened(api, namespace, "redis")["password"]
        port = forwards.open("redis", _REDIS, sessions=True)[0]
        scheme, options = _way_to_redis(api, namespace)
    except (UnreachableError, GuardError):
        return None
    return f"{scheme}://:{quote(password, safe='')}@{LOOPBACK}:{port}/0{options}"


def _way_to_redis(api: Api, namespace: str) -> tuple[str, str]:
    """Return the scheme and options of the services' URL: certificates' issuers are verified, their names are not."""
    if _settings(api, namespace).get("REDIS_SCHEME") != "rediss":
        return "redis", ""
    authority = _opened(api, namespace, "data-stores-ca")["ca.crt"]
    return "rediss", "?" + urlencode({"ssl_check_hostname": "false", "ssl_ca_data": authority})


def _settings(api: Api, namespace: str) -> dict[str, str]:
    """Return the ConfigMap `settings` that the order service uses; its name ends in a hash."""
    order = api.get(Ref("apps/v1", "Deployment", namespace, "order"))
    if order is None:
        return {}
    [container] = order["spec"]["template"]["spec"]["containers"]
    names = [source["configMapRef"]["name"] for source in container.get("envFrom") or () if "configMapRef" in source]
    found = [api.get(Ref("v1", "ConfigMap", namespace, name)) for name in names]
    return {key: value for one in found if one for key, value in (one.get("data") or {}).items()}
