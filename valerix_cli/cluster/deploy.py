"""One apply, from the plan to the result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from valerix_cli.cluster.api import Api
from valerix_cli.cluster.apply import ApplyOptions
from valerix_cli.cluster.apply import apply as apply_planned
from valerix_cli.cluster.history import note_available
from valerix_cli.cluster.lease import held
from valerix_cli.cluster.model import Applied, Change, summary
from valerix_cli.cluster.namespace import refuse_shared
from valerix_cli.cluster.objects import Object, Ref, ref
from valerix_cli.cluster.plan import Orphans, Planned, is_migration, orphans, plan, refusal_of
from valerix_cli.cluster.scaling import AUTOSCALERS
from valerix_cli.cluster.stores import refuse_data_left_behind
from valerix_cli.cluster.target import Target

_DEED = "apply"


class Deployment:
    """A deployment of an overlay: planned, then carried out, with one writer at a time."""

    def __init__(
        self, api: Api, target: Target, manifests: Sequence[Object], *, force: bool, prune: bool, share: bool
    ) -> None:
        self.target = target
        self.orphans = Orphans([], [])
        self._api, self._things = api, manifests
        self._force, self._prune, self._share = force, prune, share
        self._planned: list[Planned] = []
        self._alone = ExitStack()
        self._check: Callable[[], None] = lambda: None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lease of the namespace; for a new namespace, as soon as it exists."""
        with self._alone:
            if self._namespace() is not None:
                self._take_lease()
            yield

    def plan(self) -> None:
        """Compute the changes. Raises GuardError if they are not allowed, CliError for errors of the API server."""
        if not self._share:
            refuse_shared(self._api, self.target, self._namespace())
        refuse_data_left_behind(self._api, self.target, self._things)
        self.orphans = orphans(self._api, self.target, self._things)
        pruned = self.orphans.refs if self._prune else ()
        self._planned = plan(self._api, self.target, self._things, force=self._force, pruned=pruned)
        if refusal := refusal_of(self._planned):
            raise refusal

    @property
    def changes_something(self) -> bool:
        return any(one.change.action != "unchanged" for one in self._planned)

    @property
    def notes(self) -> list[str]:
        """The side effects of the changes, such as restarts."""
        return [one.change.note for one in self._planned if one.change.note]

    @property
    def summary(self) -> str:
        return summary([one.change for one in self._planned])

    @property
    def undo(self) -> str | None:
        """The command that reverts all changes except schemas, and nothing else; None if there is no such command."""
        actions = {one.change.action for one in self._planned}
        changed = [one for one in self._planned if one.change.action != "unchanged" and not is_migration(one.manifest)]
        if actions == {"created"}:
            return "valerix cluster delete"
        if changed and all(one.manifest["kind"] == "Deployment" and one.change.action == "changed" for one in changed):
            return "valerix cluster rollback"
        return None

    def would_be(self) -> Applied:
        return self._outcome([one.change for one in self._planned], dry_run=True)

    def carry_out(self, options: ApplyOptions) -> Applied:
        """Carry out the plan. Raises at the first object that does not become ready; earlier changes stay."""
        planned = self._with_namespace(options)
        options = replace(options, check=self._check)
        note_available(self._api, self.target)
        pruned = self._prune_all(options, autoscalers=True)
        changes = apply_planned(self._api, planned, options)
        if options.wait:
            note_available(self._api, self.target)
        pruned += self._prune_all(options, autoscalers=False)
        return self._outcome([*changes, *pruned], dry_run=False)

    def _outcome(self, changes: list[Change], *, dry_run: bool) -> Applied:
        left = [] if self._prune and not dry_run else [str(one) for one in self.orphans.refs]
        where = (self.target.cluster, self.target.namespace, self.target.overlay)
        return Applied(*where, summary(changes), dry_run, changes, left, 0.0)

    def _with_namespace(self, options: ApplyOptions) -> list[Planned]:
        """Return the plan once the namespace exists and its lease is held."""
        first = [one for one in self._planned if one.manifest["kind"] == "Namespace"]
        if first and self._namespace() is None:
            for one in first:
                self._api.apply(one.manifest, force=options.force)
            self._take_lease()
        return self._planned

    def _prune_all(self, options: ApplyOptions, *, autoscalers: bool) -> list[Change]:
        """Delete objects that are no longer in the manifests: autoscalers before anything is applied, the rest after.

        Migrations of other versions are always deleted: a failed one would look like a failure of this version.
        """
        kinds = {kind for _, kind in AUTOSCALERS}
        gone = [one for one in self.orphans.objects if self._prune and (one["kind"] in kinds) is autoscalers]
        gone += [] if autoscalers else self.orphans.superseded
        for one in gone:
            options.check()
            self._api.delete(ref(one), uid=one["metadata"]["uid"])
        return [Change(one["kind"], one["metadata"]["name"], "deleted") for one in gone]

    def _namespace(self) -> Object | None:
        return self._api.get(Ref("v1", "Namespace", None, self.target.namespace))

    def _take_lease(self) -> None:
        self._check = self._alone.enter_context(held(self._api, self.target.namespace, _DEED))
