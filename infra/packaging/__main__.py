"""`make package`: `.local/package/` with deployment.zip, sam.yaml and its translation template.yaml, checked."""

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from infra import scripts
from infra.packaging import archive, checks, wheels
from infra.packaging.template import Template, copy_sources, functions, sam
from infra.packaging.wheels import Incomplete

PROJECT = Path(__file__).resolve().parents[2]
# Both are made again when they are not there, and neither is anybody's source.
LOCAL = PROJECT / ".local"
VENDOR = PROJECT / "vendor"
TRANSLATOR = Path(__file__).with_name("cloudformation.py")


def package(project: Path, vendor: Path, output: Path) -> dict[str, str]:
    """Make the package of a project; what was measured of it, by name. Incomplete when it would not run."""
    output.mkdir(parents=True, exist_ok=True)
    for name in ("deployment.zip", "sam.yaml", "template.yaml"):
        (output / name).unlink(missing_ok=True)
    template = sam(project)
    faults = checks.of_template(template)
    _refuse(faults)
    unpacked = output / "unpacked"
    with held(vendor):
        fill(project, vendor)
        stage(project, vendor, unpacked)
    size = archive.size(unpacked)
    handlers = [one["Properties"]["Handler"] for _, one in functions(template)]
    _refuse(checks.of_size(size) + checks.of_imports(unpacked, handlers))
    archive.write(unpacked, output / "deployment.zip")
    write(template, output / "sam.yaml")
    translate(output / "sam.yaml", output / "template.yaml")
    zipped = (output / "deployment.zip").read_bytes()
    return {
        "zip": f"{len(zipped) / 2**20:.1f} MiB",
        "unzipped": f"{size / 2**20:.1f} of {checks.MOST_BYTES / 2**20:.0f} MiB",
        "functions": ", ".join(handlers),
        "sha256": hashlib.sha256(zipped).hexdigest(),
    }


@contextmanager
def held(vendor: Path) -> Iterator[None]:
    """Have the vendor folder for oneself for as long as the context lasts: a test may make a package meanwhile."""
    folder = vendor.with_name(".local")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "vendor.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fill(project: Path, vendor: Path) -> None:
    """Fill the vendor folder with the locked dependencies, unless it has just these already."""
    wanted = wheels.pins(project)
    used = wheels.services_used(sorted((project / "chalicelib").rglob("*.py")))
    rules = "".join(Path(module.__file__ or "").read_text() for module in (wheels, archive))
    mark = hashlib.sha256(repr((wanted, sorted(used), rules)).encode()).hexdigest()
    made = vendor / ".made"
    if made.exists() and made.read_text() == mark:
        return
    wheels.install(wanted, vendor, project)
    wheels.trim(vendor, used)
    absent = wheels.missing(wanted, vendor)
    _refuse([f"{name} is missing" for name in absent])
    archive.precompile(vendor)
    made.write_text(mark)


def stage(project: Path, vendor: Path, target: Path) -> None:
    """Lay out what the zip holds: our code, and the dependencies beside it."""
    shutil.rmtree(target, ignore_errors=True)
    copy_sources(project, target)
    shutil.rmtree(target / ".chalice")
    archive.precompile(target)
    shutil.copytree(vendor, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".made"))


def write(template: Template, target: Path) -> None:
    """Write a template as YAML, always the same for the same template."""
    target.write_text(yaml.safe_dump(template, sort_keys=True, allow_unicode=True, width=120))


def translate(source: Path, target: Path) -> None:
    """Write the CloudFormation translation of a SAM template; Incomplete when SAM refuses it."""
    done = scripts.run(TRANSLATOR, "translate", str(source), str(target))
    if done.returncode:
        raise Incomplete(f"SAM refuses the template:\n{done.stderr.strip()[-2000:]}")


def _refuse(faults: list[str]) -> None:
    if faults:
        raise Incomplete("\n".join(faults))


def main() -> int:
    """0 once the package is there; 1 when it would not run, with each reason."""
    output = LOCAL / "package"
    try:
        measured = package(PROJECT, VENDOR, output)
    except Incomplete as fault:
        print(f"no package was made:\n{fault}", file=sys.stderr)
        return 1
    for name, value in measured.items():
        print(f"{name:<10} {value}")
    print(f"in         {output.relative_to(PROJECT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
