"""The operator's command line: works on the deployment that the environment names."""

import argparse
import sys

from chalicelib.accounts import domains
from chalicelib.errors import Refusal
from chalicelib.services import Services
from chalicelib.settings import settings_from


def make_domain(services: Services, domain_id: str, name: str) -> str:
    """Make a domain and its first admin key; the key's token, which is shown only here."""
    return domains.make(services, domain_id, name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.operator",
        description="Operate a Panelport deployment. TABLE, BUCKET and the other variables of its functions name it.",
        epilog="example: python -m infra.operator make-domain acme --name 'Acme Research'",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    domain = commands.add_parser("make-domain", help="make a domain and print its first admin key, once")
    domain.add_argument("domain_id", help="1 to 40 of a-z, 0-9 and -")
    domain.add_argument("--name", default="", help="how people call it; the id unless given")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; 0 when done, 1 when refused."""
    asked = _parser().parse_args(arguments)
    try:
        services = Services(settings_from())
        print(make_domain(services, asked.domain_id, asked.name or asked.domain_id))
    except (Refusal, ValueError) as error:
        print(f"refused: {getattr(error, 'detail', error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
