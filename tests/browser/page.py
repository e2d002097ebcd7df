"""Steps of tests on the page of the dashboard."""

from typing import Any

from playwright.sync_api import Locator, Page


def panel(page: Page, name: str) -> Locator:
    return page.locator(f"#panel-{name}")


def place(page: Page, key: str, item: str = "monitor") -> None:
    page.locator("#orders form.row [name=item_id]").select_option(item)
    page.locator("#orders form.row [name=key]").fill(key)
    page.get_by_role("button", name="Place the order").click()


def violations(page: Page, axe: str) -> list[str]:
    """Return the violations that axe-core rates serious or worse.

    It runs in an isolated world: the page's policy still holds.
    """
    page.evaluate(axe)
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']][:3]}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
