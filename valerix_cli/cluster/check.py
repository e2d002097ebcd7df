"""Checks that an overlay can be applied to a cluster.

All checks run, so that everything missing is reported together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from valerix_cli.checks import Status
from valerix_cli.cluster import secrets
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.identity import KnownClusters, another_cluster, identities
from valerix_cli.cluster.model import CheckLine, Readiness
from valerix_cli.cluster.objects import MANAGER, Object, Ref, images
from valerix_cli.cluster.overlays import allows_gremlins
from valerix_cli.cluster.target import Target
from valerix_cli.errors import CliError
from valerix_cli.quoting import toml_string

OLDEST = (1, 32)
"""Kubernetes 1.32: has preStop sleeps enabled, and all fields that the manifests use."""
OUR_KINDS = (
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "ResourceQuota"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "Ingress"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)
"""Built-in kinds that overlays use: an earlier overlay may have left orphans of them."""
_WRITING = ("get", "list", "create", "patch", "delete")
_READING: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): ("get", "list", "delete"),
    ("", "pods/log"): ("get",),
    ("", "pods/portforward"): ("get", "create"),
    ("", "events"): ("list",),
    ("", "secrets"): ("get", "list", "create", "delete"),
    ("", "persistentvolumeclaims"): ("get", "list", "patch", "delete"),
    ("apps", "replicasets"): ("list", "patch"),
    ("coordination.k8s.io", "leases"): ("get", "create", "update", "delete"),
}
"""Permissions needed besides those for the objects themselves, by API group and plural."""
_BROUGHT_BY = {
    "cert-manager.io": "cert-manager",
    "postgresql.cnpg.io": "CloudNativePG",
    "gateway.networking.k8s.io": "Gateway API",
    "monitoring.coreos.com": "the Prometheus operator",
    "keda.sh": "KEDA",
    "external-secrets.io": "the External Secrets Operator",
    "barmancloud.cnpg.io": "the Barman Cloud plugin",
}
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True, order=True)
class Right:
    """The permission for `verb` on objects of a kind, in the namespace or in the whole cluster."""

    group: str
    plural: str
    verb: str
    everywhere: bool


def check(api: Api, target: Target, manifests: Sequence[Object], known: KnownClusters) -> Readiness:
    """Run all checks. A check that depends on a failed one is skipped, with a warning."""
    lines = [_allowed(target), *_images(manifests)]
    access = _access(api)
    lines.append(access)
    missing: list[Right] = []
    if access.status == "ok":
        lines += [_identity(api, target, known), _version(api)]
        missing = _missing(api, target, rights(api, manifests))
        lines.append(_rights(missing))
        lines += _kinds(api, manifests)
        for part in (_storage, _ways_in, _metrics, _secrets):
            lines += _safely(part, api, target, manifests)
    verdicts = {line.status for line in lines}
    return Readiness(
        "failed" if "failed" in verdicts else "ok" if verdicts == {"ok"} else "warning",
        target.cluster,
        target.namespace,
        target.overlay,
        lines,
        grant(missing, target.namespace) if missing else None,
    )


def rights(api: Api, manifests: Sequence[Object]) -> list[Right]:
    """Return the permissions for everything that `valerix cluster` does with these objects."""
    kinds = {(manifest["apiVersion"], manifest["kind"]) for manifest in manifests} | set(OUR_KINDS)
    found = {
        Right(group, plural, verb, everywhere=False) for (group, plural), verbs in _READING.items() for verb in verbs
    }
    for api_version, kind in kinds:
        resource = api.resource(api_version, kind)
        if resource is None:
            continue
        group, _, version = api_version.rpartition("/")
        found |= {
            Right(group if version else "", resource.plural, verb, everywhere=not resource.namespaced)
            for verb in _WRITING
            if resource.namespaced or verb not in {"list", "delete"}
        }
    return sorted(found)


def grant(missing: Sequence[Right], namespace: str) -> str:
    """Return the Role, and the ClusterRole if necessary, that grants the missing permissions, as YAML."""
    documents = []
    for everywhere, kind in ((False, "Role"), (True, "ClusterRole")):
        rules = _rules([right for right in missing if right.everywhere is everywhere])
        if rules:
            metadata = {"name": MANAGER} | ({} if everywhere else {"namespace": namespace})
            documents.append(
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules}
            )
    return str(yaml.safe_dump_all(documents, sort_keys=False))


def _rules(rights_: Sequence[Right]) -> list[dict[str, Any]]:
    """Return one rule for all kinds of a group with the same verbs."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in rights_:
        verbs.setdefault((right.group, right.plural), []).append(right.verb)
    plurals: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), found in sorted(verbs.items()):
        plurals.setdefault((group, tuple(found)), []).append(plural)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(found)}
        for (group, found), resources in plurals.items()
    ]


def _allowed(target: Target) -> CheckLine:
    if target.named is not None:
        return CheckLine("access", "allowed", "ok", f"The context `{target.named}` names {target.cluster}.")
    return CheckLine(
        "access",
        "allowed",
        "warning",
        f"No context names {target.cluster}, so nothing will be written there.",
        f"[contexts.NAME] with cluster = {toml_string(target.cluster)} in your config",
    )


def _access(api: Api) -> CheckLine:
    try:
        version = api.version
    except CliError as error:
        return CheckLine("access", "api server", "failed", f"{error.what} {error.why}", error.hint)
    return CheckLine("access", "api server", "ok", f"{api.server} answers: {version}.")


def _identity(api: Api, target: Target, known: KnownClusters) -> CheckLine:
    found = identities(api)
    expected = target.uid or (known.uid(target.named) if target.named else None)
    if expected is not None and expected not in found:
        error = another_cluster(target, found[0], expected)
        return CheckLine("access", "identity", "failed", f"{error.what} {error.why}", error.hint)
    what = "which the context means" if expected else "which the first apply remembers" if target.named else "seen now"
    return CheckLine("access", "identity", "ok", f"Its UID is {found[0]}, {what}.")


def _version(api: Api) -> CheckLine:
    found = _parsed(api.version)
    oldest = ".".join(map(str, OLDEST))
    if found is None:
        return CheckLine(
            "version",
            "kubernetes",
            "warning",
            f"Its version is {api.version!r}, which cannot be compared with {oldest}.",
            "kubectl version",
        )
    if found < OLDEST:
        return CheckLine(
            "version",
            "kubernetes",
            "failed",
            f"It is {api.version}; the manifests need {oldest}.",
            "upgrade the cluster",
        )
    return CheckLine("version", "kubernetes", "ok", f"{api.version}; {oldest} or later is needed.")


def _parsed(version: str) -> tuple[int, int] | None:
    major, _, rest = version.removeprefix("v").partition(".")
    minor = rest.partition(".")[0].rstrip("+")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _missing(api: Api, target: Target, needed: Sequence[Right]) -> list[Right]:
    """Return the missing permissions, found by one request for the namespace if the server can list its rules."""
    rules = api.rules(target.namespace)
    granted = {right for right in needed if rules is not None and not right.everywhere and _is_granted(rules, right)}
    asked = [right for right in needed if right not in granted and (rules is None or right.everywhere)]
    granted |= {
        right for right, may in zip(asked, api.each(lambda one: _may(api, target, one), asked), strict=True) if may
    }
    return [right for right in needed if right not in granted]


def _may(api: Api, target: Target, right: Right) -> bool:
    return api.may(right.verb, right.group, right.plural, None if right.everywhere else target.namespace)


def _is_granted(rules: Sequence[Object], right: Right) -> bool:
    _, _, subresource = right.plural.partition("/")
    plurals = {"*", right.plural, *({f"*/{subresource}"} if subresource else ())}
    return any(
        {"*", right.verb} & set(rule["verbs"])
        and {"*", right.group} & set(rule.get("apiGroups") or ())
        and plurals & set(rule.get("resources") or ())
        and not rule.get("resourceNames")
        for rule in rules
    )


def _rights(missing: Sequence[Right]) -> CheckLine:
    if not missing:
        return CheckLine("rights", "rights", "ok", "You may do all that is needed.")
    named = ", ".join(f"{right.verb} {right.plural}" for right in missing[:4])
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""  # noqa: PLR2004 - as many as are named
    return CheckLine(
        "rights",
        "rights",
        "failed",
        f"{len(missing)} are missing: {named}{more}.",
        "have an administrator apply the Role below and bind it to you",
    )


def _kinds(api: Api, manifests: Sequence[Object]) -> Iterator[CheckLine]:
    """Check the kinds that other software has to install."""
    foreign = sorted({(manifest["apiVersion"], manifest["kind"]) for manifest in manifests if "." in _group(manifest)})
    for api_version, kind in foreign:
        group = api_version.partition("/")[0]
        if group.endswith(".k8s.io") and group not in _BROUGHT_BY:
            continue
        if api.resource(api_version, kind) is not None:
            yield CheckLine("kinds", kind, "ok", f"{api_version} is there.")
        else:
            bringer = _BROUGHT_BY.get(group, group)
            yield CheckLine(
                "kinds", kind, "failed", f"There is no {api_version}.", f"install {bringer}, or leave its component out"
            )


def _images(manifests: Sequence[Object]) -> Iterator[CheckLine]:
    """Warn of image tags that may change; not for an overlay for trials."""
    if allows_gremlins(manifests):
        return
    movable = sorted(image for image in images(manifests) if "@sha256:" not in image)
    if movable:
        found = f"{len(movable)} are named by a tag, which can be moved: {', '.join(movable)}."
        hint = 'add their digests under "images" in an overlay of your own: docs/deploy.md, Staging and production'
        yield CheckLine("images", "digests", "warning", found, hint)
    elif manifests:
        yield CheckLine("images", "digests", "ok", "All are named by their digests.")


def _group(manifest: Object) -> str:
    return str(manifest["apiVersion"]).rpartition("/")[0]


PartCheck = Callable[[Api, Target, Sequence[Object]], Iterator[CheckLine]]


def _safely(part: PartCheck, api: Api, target: Target, manifests: Sequence[Object]) -> list[CheckLine]:
    try:
        return list(part(api, target, manifests))
    except CliError as error:
        name = part.__name__.strip("_").replace("_", " ")
        return [CheckLine("access", name, "skipped", f"{error.what} {error.why}")]


def _storage(api: Api, _: Target, manifests: Sequence[Object]) -> Iterator[CheckLine]:
    claims = [manifest["spec"] for manifest in manifests if manifest["kind"] == "PersistentVolumeClaim"]
    claims += [
        claim["spec"]
        for manifest in manifests
        for claim in (manifest.get("spec") or {}).get("volumeClaimTemplates") or ()
    ]
    known = api.find_all("storage.k8s.io/v1", "StorageClass", None)
    names = {one["metadata"]["name"] for one in known}
    default = [one for one in known if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"]
    for name in sorted({claim.get("storageClassName") or "" for claim in claims}):
        if name and name not in names:
            yield CheckLine("storage", name, "failed", "Storage class not found.", "kubectl get storageclass")
        elif name or default:
            found = name or default[0]["metadata"]["name"]
            yield CheckLine("storage", name or "default class", "ok", f"Volumes are made by {found}.")
        else:
            yield CheckLine(
                "storage",
                "default class",
                "failed",
                "No storage class is the default one, so volumes would wait for ever.",
                "kubectl get storageclass; name one in the overlay",
            )


def _ways_in(api: Api, _: Target, manifests: Sequence[Object]) -> Iterator[CheckLine]:
    for manifest in manifests:
        if manifest["kind"] == "Ingress":
            name = manifest["spec"].get("ingressClassName", "")
            known = api.get(Ref("networking.k8s.io/v1", "IngressClass", None, name)) is not None
            status: Status = "ok" if known else "warning"
            found = (
                f"The ingress class {name} is there."
                if known
                else f"There is no ingress class {name}, so no controller serves it."
            )
            yield CheckLine("way in", "ingress", status, found, None if known else "kubectl get ingressclass")
        if manifest["kind"] == "Gateway" and api.resource(manifest["apiVersion"], "GatewayClass"):
            name = manifest["spec"]["gatewayClassName"]
            known = api.get(Ref(manifest["apiVersion"], "GatewayClass", None, name)) is not None
            found = f"The gateway class {name} is there." if known else f"There is no gateway class {name}."
            yield CheckLine(
                "way in", "gateway", "ok" if known else "failed", found, None if known else "kubectl get gatewayclass"
            )


def _metrics(api: Api, _: Target, manifests: Sequence[Object]) -> Iterator[CheckLine]:
    if not any(manifest["kind"] == "HorizontalPodAutoscaler" for manifest in manifests):
        return
    if api.resource("metrics.k8s.io/v1beta1", "PodMetrics") is not None:
        yield CheckLine("kinds", "metrics", "ok", "metrics-server is installed.")
    else:
        yield CheckLine(
            "kinds",
            "metrics",
            "warning",
            "No metrics-server is installed, so nothing is scaled.",
            "install metrics-server",
        )


def _secrets(api: Api, target: Target, manifests: Sequence[Object]) -> Iterator[CheckLine]:
    needed = secrets.needed(manifests)
    there = {one["metadata"]["name"] for one in api.find_all("v1", "Secret", target.namespace)}
    new = [name for name in needed if name not in there]
    found = f"{len(new)} will be made at the first apply: {', '.join(new)}." if new else "All exist."
    yield CheckLine("access", "secrets", "ok", found)
