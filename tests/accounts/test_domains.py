"""Domains: made by an operator, read and changed by their admins."""

import pytest

from infra.operator import make_domain
from tests.deployed import Deployment


def test_an_admin_reads_and_changes_the_domain(deployment: Deployment):
    admin = deployment.domain("acme")
    before = deployment.call("GET", "/v1/domain", admin).json()
    assert set(before) == {"id", "name", "contact_email", "webhook_secret"}
    assert before["id"] == "acme"
    assert before["webhook_secret"].startswith("whsec_")
    changed = deployment.call("PATCH", "/v1/domain", admin, {"name": "Acme", "contact_email": "ops@acme.example"})
    assert changed.json() == {**before, "name": "Acme", "contact_email": "ops@acme.example"}
    assert deployment.call("GET", "/v1/domain", admin).json() == changed.json()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": None}, "/name"),
        ({"contact_email": "no address"}, "/contact_email"),
        ({"webhook_secret": "whsec_short"}, "/webhook_secret"),
        ({"webhook_secret": None}, "/webhook_secret"),
        ({"id": "other"}, "/id"),
    ],
)
def test_what_no_domain_can_have_is_refused(deployment: Deployment, body: dict[str, object], pointer: str):
    answer = deployment.call("PATCH", "/v1/domain", deployment.domain(), body)
    assert answer.status == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("domain_id", ["", "A", "a" * 41, "a b", "a/b", "..", "dom?", "*", "a_b", "é", "a\n"])
def test_a_hostile_domain_id_is_refused(deployment: Deployment, domain_id: str):
    with pytest.raises(ValueError, match="domain's id"):
        make_domain(deployment.services, domain_id, "x")
