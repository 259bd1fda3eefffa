"""Requests made up from the server's own description: none makes it fail."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


def narrowed(value, key: str = ""):
    """A description whose requests name a served model and ask for little, so that they are answered."""
    if isinstance(value, dict):
        if key in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            return {"type": "integer", "minimum": 0, "maximum": 3}
        if key == "n":
            return {"type": "integer", "minimum": 1, "maximum": 2}
        return {
            name: {"enum": ["tiny"]} if name == "model" and "title" in inner else narrowed(inner, name)
            for name, inner in value.items()
        }
    return [narrowed(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def description(server):
    return schemathesis.openapi.from_dict(narrowed(httpx.get(f"{server.url}/openapi.json").json()))


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_server_fail(case, server):
    answer = case.call(base_url=server.url, timeout=200)
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]
