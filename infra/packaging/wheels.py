"""The dependencies as Lambda needs them: the locked wheels of its platform, trimmed, checked for completeness."""

import fnmatch
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from infra.scripts import uv

# Amazon Linux 2023, on which Lambda runs Python 3.13, has glibc 2.34.
PLATFORM = "x86_64-manylinux_2_28"
PYTHON = "3.13"

# Chalice brings its command line, pip and setuptools along; a function runs two files of it.
FRAMEWORK = "chalice"
FRAMEWORK_FILES = frozenset({"chalice/__init__.py", "chalice/app.py"})

# What no function ever reads. Licences stay.
DROPPED_FOLDERS = frozenset({"__pycache__", "tests", "bin", "sboms"})
DROPPED_PATHS = frozenset({"numpy/f2py", "numpy/_pyinstaller", "numpy/typing/tests", "pyreadstat/src"})
DROPPED_FILES = ("*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.h", "*.hpp", "*.c", "*.cpp", "*.a", "*.lib", "*.f90", "*.exe")
DROPPED_STUBS = ("*-stubs", "adbc_driver_*")
# They tell of the installation, not of the package.
DROPPED_RECORDS = frozenset(
    {".lock", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
)


class Incomplete(Exception):
    """The package would lack something that the service needs, or Lambda would refuse it; the text says what."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked distribution: its normalized name, its version, and its requirement with hashes."""

    name: str
    version: str
    requirement: str


def pins(project: Path) -> tuple[Pin, ...]:
    """The distributions of the lock file that functions need, by name."""
    needed = parsed(_exported(project, "--prune", FRAMEWORK))
    framework = [pin for pin in parsed(_exported(project)) if pin.name == FRAMEWORK]
    return tuple(sorted((*needed, *framework), key=lambda pin: pin.name))


def parsed(text: str) -> tuple[Pin, ...]:
    """The pins of a requirements file with hashes; those that a marker keeps off Linux are left out."""
    found = []
    for requirement in re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text)):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)([^\\\n]*)", requirement)
        if match and "win32" not in match[3]:
            found.append(Pin(normalized(match[1]), match[2], requirement.strip()))
    return tuple(found)


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def install(wanted: Iterable[Pin], target: Path, project: Path) -> None:
    """Put exactly these distributions into the folder, from wheels for Lambda only; Incomplete when one has none."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    listed = target.with_suffix(".requirements")
    listed.write_text("\n".join(pin.requirement for pin in wanted) + "\n")
    options = ["--python-platform", PLATFORM, "--python-version", PYTHON, "--only-binary", ":all:", "--no-deps"]
    options += ["--require-hashes", "--no-compile-bytecode", "--link-mode", "copy", "--no-config"]
    done = _uv(project, "pip", "install", "--quiet", "--target", str(target), *options, "-r", str(listed))
    listed.unlink()
    if done.returncode:
        raise Incomplete(f"the wheels cannot be installed:\n{done.stderr.strip()}")


def missing(wanted: Iterable[Pin], target: Path) -> list[str]:
    """The distributions that are not in the folder in their version."""
    there = set()
    for info in target.glob("*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        there.add((normalized(name), version))
    return sorted(f"{pin.name} {pin.version}" for pin in wanted if (pin.name, pin.version) not in there)


def services_used(sources: Iterable[Path]) -> frozenset[str]:
    """The AWS services that the code makes clients of."""
    made = re.compile(r"boto3\.(?:client|resource)\(\s*\"([a-z0-9]+)\"")
    found = frozenset(name for source in sources for name in made.findall(source.read_text()))
    if not found:
        raise Incomplete("no boto3 client was found in the code: botocore's data cannot be trimmed")
    return found


def trim(target: Path, services: frozenset[str]) -> None:
    """Take out what no function reads; of botocore's data only the services given stay."""
    for path in sorted(target.rglob("*"), key=lambda path: len(path.parts)):
        if path.exists() and _is_dropped(path.relative_to(target), path.is_dir(), services):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if strip := shutil.which("strip"):
        libraries = sorted(path for path in target.rglob("*") if re.search(r"\.so(\.|$)", path.name))
        subprocess.run([strip, "--strip-unneeded", *map(str, libraries)], capture_output=True, check=False)


def _is_dropped(path: Path, is_folder: bool, services: frozenset[str]) -> bool:
    text = path.as_posix()
    if text.startswith("chalice/") and not is_folder:
        return text not in FRAMEWORK_FILES
    if is_folder:
        if path.parts[:2] in (("botocore", "data"), ("boto3", "data")) and len(path.parts) == 3:
            return path.name not in services
        top = len(path.parts) == 1 and any(fnmatch.fnmatch(path.name, stub) for stub in DROPPED_STUBS)
        return path.name in DROPPED_FOLDERS or text in DROPPED_PATHS or top
    if ".dist-info" in path.parts[0] or len(path.parts) == 1:
        return path.name in DROPPED_RECORDS
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in DROPPED_FILES)


def _exported(project: Path, *options: str) -> str:
    export = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--format", "requirements-txt"]
    done = _uv(project, *export, *options)
    if done.returncode:
        raise Incomplete(f"the lock file cannot be read:\n{done.stderr.strip()}")
    return done.stdout


def _uv(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*uv(), *arguments], cwd=project, capture_output=True, text=True, check=False)
