"""Requests that break our own schema, made by schemathesis: each is refused, none is an error."""

import hypothesis
import schemathesis
from fake_source import FakeSource, make_service
from schemathesis.config import SchemathesisConfig

from legato.server.app import create_app
from legato.server.settings import ServerSettings

app = create_app(make_service(FakeSource()), ServerSettings())
REFUSALS = ["400", "404", "405", "413", "415"]  # a body that is too large too
config = SchemathesisConfig.from_dict(
    {
        "generation": {"mode": "negative"},
        "checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}},
    }
)
schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


@schema.parametrize()
@hypothesis.settings(max_examples=10, deadline=None, derandomize=True)
def test_a_request_that_breaks_the_schema_is_refused_as_the_schema_says(case):
    case.call_and_validate()
