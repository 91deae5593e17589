# /// script
# requires-python = ">=3.13,<3.14"
# dependencies = ["openapi-python-client==0.26.2", "datamodel-code-generator>=0.35"]
# ///
"""Clients that two generators make of a description, in an environment of their own.

`uv run --script tests/web/clients.py OPENAPI_JSON FOLDER`: a client at FOLDER/client, models at FOLDER/models.py. What
the generators complain of goes to the standard output; `clients.py.lock` pins them.
"""

import subprocess
import sys

description, folder = sys.argv[1:]
client = ["openapi-python-client", "generate", "--path", description, "--output-path", f"{folder}/client"]
models = ["datamodel-codegen", "--input", description, "--input-file-type", "openapi", "--output", f"{folder}/models.py",
          "--output-model-type", "pydantic_v2.BaseModel"]  # fmt: skip
subprocess.run([*client, "--meta", "none"], check=True)
subprocess.run(models, check=True)
