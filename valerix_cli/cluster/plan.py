"""Plans an apply by server-side dry runs: the API server computes the changes, and nothing is written."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import yaml

from valerix_cli.cluster import namespace, ownership, scaling, secrets, storage, stores
from valerix_cli.cluster.api import Api
from valerix_cli.cluster.health import evaluate
from valerix_cli.cluster.model import Action, Change
from valerix_cli.cluster.objects import COMPONENT, Object, Ref, labels, ref
from valerix_cli.cluster.target import Target
from valerix_cli.cluster.transport import ApiError
from valerix_cli.errors import CliError, GuardError
from valerix_cli.quoting import command

_SERVERS_OWN = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
REDACTED = "(secret)"
NEVER_PRUNED = frozenset({"Namespace", "Secret", "PersistentVolumeClaim", "Lease"})
"""Kinds that are never pruned, since their deletion loses data that cannot be recreated; nor are data stores."""


@dataclass(frozen=True)
class Planned:
    """The plan for one object: its manifest, its live state, the change; or the reason why the server would refuse it.

    `force`: take over fields that other managers own. `hands_over`: the number of pods that an autoscaler starts with,
    if it takes over now. `replaced_by`: how to delete the live object first, for a change that the server refuses.
    `is_settled`: the manifest is already applied without changes, and the object is ready.
    """

    manifest: Object
    live: Object | None
    change: Change
    refusal: CliError | None = None
    force: bool = False
    hands_over: int | None = None
    replaced_by: Literal["Foreground", "Orphan"] | None = None
    is_settled: bool = False


class Orphans(msgspec.Struct, frozen=True):
    """Applied objects that are no longer in the overlay; `unknown`: the kinds that the user may not list.

    `superseded` are the migrations of other versions, which that of this version replaces.
    """

    objects: list[Object]
    unknown: list[str]
    superseded: list[Object] = []

    @property
    def refs(self) -> list[Ref]:
        return [ref(one) for one in self.objects]


def plan(
    api: Api, target: Target, manifests: Sequence[Object], *, force: bool = False, pruned: Iterable[Ref] = ()
) -> list[Planned]:
    """Return a plan for each of `manifests`, for each secret to create, and for each claim to grow.

    `pruned` will be deleted before, so it is ignored.
    """
    there = api.get(Ref("v1", "Namespace", None, target.namespace))
    scaled = [one for one in manifests if (one["apiVersion"], one["kind"]) in scaling.AUTOSCALERS]
    planner = _Planner(api, there is not None, force, _autoscalers(api, target, pruned), scaled)
    names = secrets.needed(manifests)
    new = api.each(lambda name: _secret(api, target, name, exists=there is not None), names)
    desired = [
        namespace.marked(manifest, there) if manifest["kind"] == "Namespace" else manifest for manifest in manifests
    ]
    return [
        *(one for one in new if one is not None),
        *(one for found in api.each(planner.plan, desired) for one in found),
    ]


def orphans(api: Api, target: Target, manifests: Iterable[Object]) -> Orphans:
    """Find the applied objects, of every kind, that are no longer in the overlay.

    Settings that an earlier revision of a deployment reads are kept, since a rollback needs them. So are data stores.
    """
    desired = {(ref(manifest).group, manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    owned = namespace.list_owned(api, target.namespace)
    found = [
        manifest
        for manifest in owned.objects
        if (ref(manifest).group, manifest["kind"], manifest["metadata"]["name"]) not in desired
        and manifest["kind"] not in NEVER_PRUNED
        and not stores.is_data_store(manifest)
    ]
    read = _read_by_revisions(api, target) if any(one["kind"] == "ConfigMap" for one in found) else set()
    left = [one for one in found if one["kind"] != "ConfigMap" or one["metadata"]["name"] not in read]
    superseded = [one for one in left if is_migration(one)]
    return Orphans([one for one in left if one not in superseded], owned.unknown, superseded)


def is_migration(manifest: Object) -> bool:
    """True for a migration Job, and for a ConfigMap that its name depends on."""
    if manifest["kind"] == "Job":
        return labels(manifest).get(COMPONENT) == "migration"
    return bool(manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"].startswith("migrate-"))


def refusal_of(planned: Sequence[Planned]) -> CliError | None:
    """Return the first change that the server would refuse, if any."""
    return next((one.refusal for one in planned if one.refusal), None)


def changed_lines(before: Object | None, after: Object) -> list[str]:
    """Return a unified diff of both as YAML, without the fields that only the server writes; secrets are redacted."""
    old = _as_yaml(before) if before else []
    found = difflib.unified_diff(old, _as_yaml(after), "live", "described", lineterm="", n=3)
    return list(found)[2:]


@dataclass(frozen=True)
class _Planner:
    """Plans each object by requests to the server. `exists`: the namespace exists.

    `autoscalers` are the live ones that are kept, `desired` those of the overlay.
    """

    api: Api
    exists: bool
    force: bool
    autoscalers: Sequence[Object]
    desired: Sequence[Object]

    def plan(self, manifest: Object) -> list[Planned]:
        """Return the plan for the object, and for its claims that have to grow."""
        if manifest["metadata"].get("namespace") and not self.exists:  # no dry run is possible without the namespace
            return [Planned(manifest, None, _change(manifest, "created", changed_lines(None, manifest)))]
        live = self.api.get(ref(manifest))
        try:
            claims = [] if live is None else storage.grown_claims(self.api, manifest)
            grown = [self._grown(claim, size) for claim, size in claims if manifest["kind"] == "StatefulSet"]
            return [*grown, self._planned(manifest, live)]
        except CliError as error:
            explanation = explained(error, ref(manifest)) if isinstance(error, ApiError) else error
            return [Planned(manifest, live, _change(manifest, "refused", []), explanation)]

    def _planned(self, manifest: Object, live: Object | None) -> Planned:
        hands_over = None
        if live is not None and scaling.is_handed_over(manifest, live):
            hands_over = scaling.handed_over(live, self.desired)
        desired = manifest if hands_over is None else scaling.with_replicas(manifest, hands_over)
        force = self.force
        try:
            after = self.api.apply(desired, dry_run=True, force=force)
        except ApiError as error:
            if live is None:
                raise
            if error.is_invalid and (found := _way_to_replace(self.api, manifest, live)):
                way, rest = found
                lines = changed_lines(_as_desired(live, manifest), manifest)
                return Planned(
                    manifest, live, _change(manifest, "replaced", lines, live, _note(live, rest)), replaced_by=way
                )
            if not scaling.is_about_replicas(error) or not scaling.was_autoscaled(live):
                raise
            if autoscaler := scaling.autoscaler_of(self.autoscalers, manifest):
                raise scaling.still_scaled(ref(manifest), autoscaler) from error
            force = True
            after = self.api.apply(desired, dry_run=True, force=True)
        lines = changed_lines(live, after)
        action = _fate(live, lines)
        change = _change(manifest, action, lines, live, _note(live, after))
        again: Literal["Foreground"] | None = "Foreground" if action == "replaced" else None
        return Planned(manifest, live, change, None, force, hands_over, again, _is_settled(action, live, after))

    def _grown(self, claim: Object, size: str) -> Planned:
        manifest = storage.resize(claim, size)
        after = self.api.apply(manifest, dry_run=True, force=True)
        return Planned(manifest, claim, _change(manifest, "changed", changed_lines(claim, after)), force=True)


def _autoscalers(api: Api, target: Target, pruned: Iterable[Ref]) -> list[Object]:
    gone = set(pruned)
    found = [one for kind in scaling.AUTOSCALERS for one in api.find_visible(*kind, target.namespace)]
    return [one for one in found if ref(one) not in gone]


def _way_to_replace(
    api: Api, manifest: Object, live: Object
) -> tuple[Literal["Foreground", "Orphan"], Object | None] | None:
    """Return how to make a change that the server refuses, and the resulting object if a dry run can show it.

    A Job is deleted and created again. A StatefulSet is deleted without its pods if the size of its claims is the only
    change that the server refuses.
    """
    if manifest["kind"] == "Job":
        return "Foreground", None
    if manifest["kind"] == "StatefulSet" and (same := storage.with_live_templates(manifest, live)):
        return "Orphan", api.apply(same, dry_run=True)
    return None


def _is_settled(action: Action, live: Object | None, after: Object) -> bool:
    if live is None or action != "unchanged" or evaluate(live).verdict != "ready":
        return False
    return ownership.applied(live) == ownership.applied(after)  # also owned by us, not just equal


def _note(live: Object | None, after: Object | None) -> str:
    """Return the side effect of a change, such as a restart."""
    if live is None or after is None or not stores.is_data_store(after) or after["kind"] != "StatefulSet":
        return ""
    if live["spec"]["template"] == after["spec"]["template"] or after["spec"].get("replicas", 1) > 1:
        return ""
    return f"restarts {after['metadata']['name']}, of which there is one: what needs it fails until it is ready"


def _as_desired(live: Any, desired: Any) -> Any:
    """Return the live fields that are in the manifest, without those that the server has added."""
    if isinstance(live, dict) and isinstance(desired, dict):
        return {key: _as_desired(live[key], value) for key, value in desired.items() if key in live}
    if isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
        return [_as_desired(old, new) for old, new in zip(live, desired, strict=True)]
    return live


def _fate(live: Object | None, lines: list[str]) -> Action:
    if live is None:
        return "created"
    if live["kind"] == "Job" and evaluate(live).verdict == "failed":  # it is retried
        return "replaced"
    return "changed" if lines else "unchanged"


_TO_TAKE_OVER = {
    "apply": "valerix cluster apply --force-conflicts takes these fields over; or leave them out of the overlay",
    "rollback": "valerix cluster rollback --force-conflicts takes these fields over",
}


def explained(error: ApiError, about: Ref, operation: Literal["apply", "rollback"] = "apply") -> CliError:
    """Return the error for an object that the server would refuse, with a hint."""
    if error.is_conflict:
        fields = "; ".join(f"{cause.get('field')} ({_manager(cause)})" for cause in error.causes)
        return GuardError(
            f"{about} is also managed by another field manager.",
            fields,
            _TO_TAKE_OVER[operation],
        )
    if error.is_invalid:
        return ApiError(
            f"{about} cannot be changed in place.",
            _in_one_line(error),
            _replacement_hint(about),
            status=error.status,
            causes=error.causes,
        )
    return error


def _in_one_line(error: ApiError) -> str:
    """Return the causes by field, without the values that the server repeats."""
    reasons = [
        f"{cause.get('field', '')}: {str(cause.get('message', '')).rpartition('}: ')[2]}"
        for cause in error.causes
        if cause.get("message")
    ]
    return " ".join("; ".join(reasons or [error.why]).split())


def _replacement_hint(about: Ref) -> str:
    """Return how to replace an object that cannot be changed, and the consequences."""
    if about.kind == "PersistentVolumeClaim":
        return "leave it as it is in the overlay, or move its data to a claim of another name"
    if about.kind == "StatefulSet":  # its pods and its data are kept
        deletion = command("kubectl delete statefulset", about.name, namespace=about.namespace, cascade="orphan")
        return f"{deletion}, which leaves its pods running, then valerix cluster apply"
    return f"leave it as it is in the overlay, or give {about.kind}/{about.name} another name there"


def _manager(cause: Object) -> str:
    """Return the other manager's name in `conflict with "kubectl-edit" using apps/v1`."""
    message = str(cause.get("message", ""))
    name = message.split('"')[1] if message.count('"') > 1 else message
    return f"set by {name}"


def _secret(api: Api, target: Target, name: str, *, exists: bool) -> Planned | None:
    """Plan a secret to create. Raises GuardError if data that it protected still exists."""
    secret = Ref("v1", "Secret", target.namespace, name)
    if exists and api.get(secret) is not None:
        return None
    volume = Ref("v1", "PersistentVolumeClaim", target.namespace, "data-postgres-0")
    if exists and name == "postgres-admin" and api.get(volume) is not None:
        raise GuardError(
            "The password of PostgreSQL is gone, its data is not.",
            f"{volume} is there and {secret} is not; a new password would not open the old data",
            "put the secret back; or set a new password in the database, and the secret to it: docs/runbook.md",
        )
    made = secrets.make(name, target.namespace)
    return Planned(made, None, _change(made, "created", changed_lines(None, made)))


def _change(manifest: Object, action: Action, lines: list[str], live: Object | None = None, note: str = "") -> Change:
    others = ownership.fields_of_others(live) if live is not None else []
    return Change(manifest["kind"], manifest["metadata"]["name"], action, lines, note, others)


def _as_yaml(manifest: Object) -> list[str]:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _SERVERS_OWN}
    shown = {name: value for name, value in manifest.items() if name != "status"} | {"metadata": metadata}
    if manifest["kind"] == "Secret":
        shown |= {part: dict.fromkeys(shown[part], REDACTED) for part in ("data", "stringData") if shown.get(part)}
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
