"""Generators that are not ours make clients of the description, and leave nothing out."""

import json
import re
from pathlib import Path

import pytest

from chalicelib.web import openapi
from infra import scripts
from tests.answers import DESCRIBED

pytestmark = pytest.mark.judge
SCRIPT = Path(__file__).with_name("clients.py")


def test_two_generators_leave_no_operation_and_no_model_out(tmp_path):
    document = openapi.document(DESCRIBED)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = scripts.run(SCRIPT, str(tmp_path / "openapi.json"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    made = {file.stem for file in (tmp_path / "client" / "api").rglob("*.py")} - {"__init__"}
    assert made == {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    models = set(re.findall(r"^class (\w+)\(", (tmp_path / "models.py").read_text(), re.MULTILINE))
    named = {name for name, schema in document["components"]["schemas"].items() if "properties" in schema}
    assert named <= models
