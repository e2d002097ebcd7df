"""Views of contexts, settings, explanations and the version."""

from rich.console import Group, RenderableType
from rich.text import Text

from valerix_cli.output_models import ContextSummary, Dashboard, Explanation, SettingOrigin, Version
from valerix_cli.views.tables import facts, table


def contexts_view(contexts: list[ContextSummary]) -> RenderableType:
    return table(
        "",
        "context",
        "order service",
        "described in",
        wrap=("order service", "described in"),
        rows=[["*" if one.current else "", one.name, " ".join(one.order), one.origin] for one in contexts],
    )


def origins_view(origins: list[SettingOrigin]) -> RenderableType:
    rows = [[one.setting, _format(one.value), one.origin] for one in origins]
    return table("setting", "value", "from", rows=rows, wrap=("value", "from"))


def settings_view(origins: list[SettingOrigin]) -> RenderableType:
    return facts([(one.setting, _format(one.value)) for one in origins])


def explanations_view(found: list[Explanation]) -> RenderableType:
    parts: list[RenderableType] = []
    for one in found:
        parts += [Text(""), facts([(one.kind, one.code), ("means", one.meaning), ("why", one.why), ("do", one.do)])]
    return Group(*parts[1:])


def codes_view(found: list[Explanation]) -> RenderableType:
    return table("kind", "code", "means", rows=[[one.kind, one.code, one.meaning] for one in found], wrap=("means",))


def version_view(version: Version) -> RenderableType:
    return Text(f"valerix {version.valerix} (Python {version.python}, {version.system})")


def dashboard_view(dashboard: Dashboard) -> RenderableType:
    until = f"once, until {dashboard.expires_at.astimezone():%H:%M:%S}"
    return facts([("dashboard", dashboard.url), ("sign in", dashboard.sign_in_url), ("works", until)])


def names_view(names: list[str]) -> RenderableType:
    return Text("\n".join(names))


def _format(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)
