"""Requests made up from the server's own description: none makes it fail."""

from collections import Counter

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
EXAMPLES = settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)  # making up a request takes ten times as long as answering it
LENGTHS = {"max_tokens", "max_completion_tokens", "max_output_tokens"}


def narrowed(value, key: str = ""):
    """A description whose requests name a served model and ask for little, so that they are answered."""
    if isinstance(value, list):
        return [narrowed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if key in LENGTHS:
        return {"type": "integer", "minimum": 1, "maximum": 3}
    if key == "n":
        return {"type": "integer", "minimum": 1, "maximum": 2}
    if key == "model" and "title" in value:
        return {"enum": ["tiny"]}
    found = {name: narrowed(inner, name) for name, inner in value.items()}
    if lengths := LENGTHS & found.get("properties", {}).keys():
        found["required"] = [*found.get("required", []), *sorted(lengths)]
    return found


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_makes_the_server_fail(server, mode):
    raw = narrowed(httpx.get(f"{server.url}/openapi.json").json())
    statuses = Counter()
    session = requests.Session()
    for result in schemathesis.openapi.from_dict(raw).get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # there is nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @EXAMPLES
        def ask(case):
            answer = case.call(base_url=server.url, timeout=200, session=session)
            case.validate_response(answer, checks=CHECKS)
            statuses[case.operation.path, answer.status_code] += 1
            if answer.status_code >= 400:
                assert answer.json()["error"]["message"]

        ask()
    if mode is GenerationMode.POSITIVE:  # the routes were reached, not only their refusals
        reached = {path for path, status in statuses if status == 200}
        assert reached >= {"/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize"}, statuses
