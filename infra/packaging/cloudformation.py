# /// script
# requires-python = ">=3.13,<3.14"
# dependencies = ["aws-sam-translator==1.115.0", "cfn-lint==1.58.0", "pyyaml>=6"]
# ///
"""What SAM's translation of a template is, and what cfn-lint says of both; run in an environment of its own.

`uv run --script infra/packaging/cloudformation.py translate SAM_YAML TEMPLATE_YAML`, `... lint FILE...`. The translator
pins a pydantic that is not the service's, so it shares no environment with it; `cloudformation.py.lock` pins both.
"""

import json
import subprocess
import sys
from pathlib import Path

REGION = "us-east-1"


def translate(source: Path, target: Path) -> None:
    """Write the CloudFormation template that the SAM template comes to; an exception tells what SAM refuses."""
    import boto3
    import yaml
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    template = json.loads(json.dumps(yaml.safe_load(source.read_text())))
    session = boto3.Session(region_name=REGION)
    made = Translator({}, Parser(), boto_session=session).translate(template, {})
    # By way of JSON: SAM's own kinds of dict are none that YAML knows.
    target.write_text(yaml.safe_dump(json.loads(json.dumps(made)), sort_keys=True, allow_unicode=True, width=120))


def lint(files: list[str]) -> int:
    """cfn-lint's exit status for the files; it prints what it finds."""
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", REGION, "--", *files]
    return subprocess.run(command, check=False).returncode


def main(arguments: list[str]) -> int:
    """Carry out one command; its exit status."""
    match arguments:
        case ["translate", source, target]:
            translate(Path(source), Path(target))
            return 0
        case ["lint", *files] if files:
            return lint(files)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
