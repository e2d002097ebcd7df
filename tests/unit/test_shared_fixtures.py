"""A failed test leaves no fault on for tests that share its platform."""

from pathlib import Path

import pytest

from tests.conftest import pytest_runtest_makereport

pytest_plugins = ["pytester"]


class Hook:
    pytest_runtest_makereport = staticmethod(pytest_runtest_makereport)


@pytest.mark.parametrize(("outcome", "expected"), [("assert False", ["right"]), ("assert True", [])])
def test_shared_fixtures_are_restored_only_after_a_failure(
    pytester: pytest.Pytester, outcome: str, expected: list[str]
) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        class Shared:
            def restore(self):
                open("said", "a").write("right")
        @pytest.fixture
        def shared():
            return Shared()
        def test_it(shared):
            {outcome}
        """
    )
    pytester.inline_run("-p", "no:cacheprovider", "-p", "no:asyncio", plugins=[Hook()])
    record = Path(pytester.path, "said")
    assert (record.read_text().split() if record.exists() else []) == expected
