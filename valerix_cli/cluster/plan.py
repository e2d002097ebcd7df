"""What an apply would change, as the API server itself says it: server-side dry runs, nothing is written."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from valerix_cli.cluster import secrets
from valerix_cli.cluster.api import Api, ApiError
from valerix_cli.cluster.health import judge
from valerix_cli.cluster.model import Change, Fate
from valerix_cli.cluster.objects import MANAGED_BY, MANAGER, Object, Ref, ref
from valerix_cli.cluster.where import Target
from valerix_cli.errors import CliError, GuardError
from valerix_cli.quoting import command

_SERVERS_OWN = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
MASKED = "(secret)"
KEPT = frozenset({"Namespace", "Secret", "PersistentVolumeClaim"})
"""Kinds that are never pruned: with them goes what cannot be made again."""
PRUNED = (
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
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("cert-manager.io/v1", "Certificate"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("external-secrets.io/v1", "ExternalSecret"),
)
"""What may be one of ours that is described no longer. A database of CloudNativePG is not among them."""


@dataclass(frozen=True)
class Planned:
    """One object: as it is to be, as it is, what would change; or why the server would not take it."""

    thing: Object
    live: Object | None
    change: Change
    refusal: CliError | None = None


def plan(api: Api, target: Target, things: Sequence[Object], *, force: bool = False) -> list[Planned]:
    """One for each of `things` and for each secret that is to be made, in the order of `things`."""
    namespace = Ref("v1", "Namespace", None, target.namespace)
    exists = api.get(namespace) is not None
    new = [_secret(api, target, name, exists=exists) for name in secrets.wanted(things)]
    return [
        *(one for one in new if one is not None),
        *(_planned(api, thing, exists=exists, force=force) for thing in things),
    ]


def orphans(api: Api, target: Target, things: Iterable[Object]) -> list[Ref]:
    """What we once applied and nobody describes any more.

    Settings that an earlier revision of a deployment reads are kept: without them it could not be gone back to.
    """
    described = {(thing["kind"], thing["metadata"]["name"]) for thing in things}
    ours = f"{MANAGED_BY}={MANAGER}"
    found = [
        ref(thing)
        for api_version, kind in PRUNED
        for thing in api.find_all(api_version, kind, target.namespace, ours)
        if (kind, thing["metadata"]["name"]) not in described
    ]
    read = _read_by_revisions(api, target) if any(one.kind == "ConfigMap" for one in found) else set()
    return [one for one in found if one.kind != "ConfigMap" or one.name not in read]


def refusal_of(planned: Sequence[Planned]) -> CliError | None:
    """The first thing that the server would not take, if any."""
    return next((one.refusal for one in planned if one.refusal), None)


def changed_lines(before: Object | None, after: Object) -> list[str]:
    """A unified diff of both as YAML, without what only the server writes; secrets are masked."""
    old = _as_yaml(before) if before else []
    found = difflib.unified_diff(old, _as_yaml(after), "live", "described", lineterm="", n=3)
    return list(found)[2:]


def _planned(api: Api, thing: Object, *, exists: bool, force: bool) -> Planned:
    if thing["metadata"].get("namespace") and not exists:  # nothing can be asked about what would be in it
        return Planned(thing, None, _change(thing, "created", changed_lines(None, thing)))
    live = api.get(ref(thing))
    try:
        after = api.apply(thing, dry_run=True, force=force)
    except ApiError as error:
        if live is not None and error.is_invalid and thing["kind"] == "Job":  # a job is what it was; one makes another
            return Planned(thing, live, _change(thing, "replaced", changed_lines(_as_described(live, thing), thing)))
        return Planned(thing, live, _change(thing, "unchanged", []), explained(error, ref(thing)))
    except CliError as error:
        return Planned(thing, live, _change(thing, "unchanged", []), error)
    lines = changed_lines(live, after)
    return Planned(thing, live, _change(thing, _fate(live, lines), lines))


def _as_described(live: Any, described: Any) -> Any:
    """The part of what is there that the description speaks of: not what the server has added."""
    if isinstance(live, dict) and isinstance(described, dict):
        return {key: _as_described(live[key], value) for key, value in described.items() if key in live}
    if isinstance(live, list) and isinstance(described, list) and len(live) == len(described):
        return [_as_described(old, new) for old, new in zip(live, described, strict=True)]
    return live


def _fate(live: Object | None, lines: list[str]) -> Fate:
    if live is None:
        return "created"
    if live["kind"] == "Job" and judge(live).verdict == "failed":  # it is tried again
        return "replaced"
    return "changed" if lines else "unchanged"


def explained(error: ApiError, about: Ref) -> CliError:
    """What is to be done about an object that the server would not take."""
    if error.is_conflict:
        fields = "; ".join(f"{cause.get('field')} ({_manager(cause)})" for cause in error.causes)
        return GuardError(
            f"{about} is managed by somebody else as well.",
            fields,
            "valerix cluster apply --force-conflicts takes these fields over; or leave them out of the overlay",
        )
    if error.is_invalid:
        return ApiError(
            f"{about} cannot be changed like that.",
            error.why,
            _way_round(about),
            status=error.status,
            causes=error.causes,
        )
    return error


def _way_round(about: Ref) -> str:
    """How to have an object be otherwise that cannot be changed, without losing anything."""
    if about.kind == "PersistentVolumeClaim":
        return "leave it as it is in the overlay, or move its data to a claim of another name"
    kept = "orphan" if about.kind == "StatefulSet" else None  # its pod and its data stay
    deletion = command("kubectl delete", about.kind.lower(), about.name, namespace=about.namespace, cascade=kept)
    return f"{deletion}, then valerix cluster apply"


def _manager(cause: Object) -> str:
    """The other one's name out of `conflict with "kubectl-edit" using apps/v1`."""
    message = str(cause.get("message", ""))
    name = message.split('"')[1] if message.count('"') > 1 else message
    return f"set by {name}"


def _secret(api: Api, target: Target, name: str, *, exists: bool) -> Planned | None:
    """One that is to be made. Raises GuardError where what it opened is still there."""
    wanted = Ref("v1", "Secret", target.namespace, name)
    if exists and api.get(wanted) is not None:
        return None
    volume = Ref("v1", "PersistentVolumeClaim", target.namespace, "data-postgres-0")
    if exists and name == "postgres-admin" and api.get(volume) is not None:
        raise GuardError(
            "The password of PostgreSQL is gone, its data is not.",
            f"{volume} is there and {wanted} is not; a new password would not open the old data",
            "put the secret back; or delete the data too: valerix cluster delete --volumes",
        )
    made = secrets.make(name, target.namespace)
    return Planned(made, None, _change(made, "created", changed_lines(None, made)))


def _change(thing: Object, fate: Fate, lines: list[str]) -> Change:
    return Change(thing["kind"], thing["metadata"]["name"], fate, lines)


def _as_yaml(thing: Object) -> list[str]:
    metadata = {name: value for name, value in thing["metadata"].items() if name not in _SERVERS_OWN}
    shown = {name: value for name, value in thing.items() if name != "status"} | {"metadata": metadata}
    if thing["kind"] == "Secret":
        shown |= {part: dict.fromkeys(shown[part], MASKED) for part in ("data", "stringData") if shown.get(part)}
    return yaml.safe_dump(shown, sort_keys=True, allow_unicode=True, width=120).splitlines()


def _read_by_revisions(api: Api, target: Target) -> set[str]:
    found = set()
    for replica_set in api.find_all("apps/v1", "ReplicaSet", target.namespace):
        spec = replica_set["spec"]["template"]["spec"]
        found |= {volume["configMap"]["name"] for volume in spec.get("volumes") or () if "configMap" in volume}
        for container in spec["containers"]:
            sources = container.get("envFrom") or ()
            found |= {source["configMapRef"]["name"] for source in sources if "configMapRef" in source}
    return found
