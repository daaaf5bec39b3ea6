"""The API does what its description says, whatever is asked of it: schemathesis, a bounded number of requests."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.openapi.utils import get_openapi
from hypothesis import HealthCheck, given, settings

from jobs.console.api import router
from tests.console.conftest import make_users, serving, settings_of
from tests.console.lake import small_lake

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
DESCRIBED = schemathesis.openapi.from_dict(get_openapi(title="reco", version="1", routes=router.routes))
OPERATIONS = [told.ok() for told in DESCRIBED.get_all_operations()]
#: Requests of each operation: many times as many were sent once, these keep it so.
REQUESTS = 8


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    made = settings_of(tmp_path_factory.mktemp("schema"))
    small_lake(made)
    tokens = make_users(made)
    with serving(made) as url:
        yield url, {"Authorization": f"Bearer {tokens['ann']}"}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: str(operation.label))
def test_the_api_answers_as_it_is_described(operation: Any, served: tuple[str, dict[str, str]]) -> None:
    url, headers = served

    @given(case=operation.as_strategy())
    @settings(
        max_examples=REQUESTS, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck]
    )
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=url, headers=headers, timeout=60)

    ask()


def test_every_operation_is_asked() -> None:
    assert {"GET /api/v1/exceptions", "POST /api/v1/exceptions/actions", "GET /api/v1/suppliers/{supplier}"} <= {
        operation.label for operation in OPERATIONS
    }
