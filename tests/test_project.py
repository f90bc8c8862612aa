"""The project's own files keep their promises to one another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
# What a user can install; the sets for developers have no minimum that anyone depends on.
PUBLIC_EXTRAS = ("breached", "devices", "places", "redis", "postgres", "mysql", "openapi", "cors", "fetch", "demo")


def declared() -> dict[str, Requirement]:
    lines = [
        *PROJECT["dependencies"],
        *(line for extra in PUBLIC_EXTRAS for line in PROJECT["optional-dependencies"][extra]),
    ]
    found = {requirement.name: requirement for requirement in map(Requirement, lines)}
    del found[PROJECT["name"]]  # an extra that contains another one
    return found


def lower_bound(specifiers: SpecifierSet) -> Version:
    (bound,) = (Version(specifier.version) for specifier in specifiers if specifier.operator == ">=")
    return bound


def pins(file: str) -> dict[str, Version]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;\\]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {name.lower(): Version(version) for name, version in found}


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    for requirement in declared().values():
        assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}, requirement


def test_the_minimum_versions_are_the_declared_lower_bounds() -> None:
    assert pins("requirements-minimum.txt") == {name: lower_bound(r.specifier) for name, r in declared().items()}


@pytest.mark.parametrize("lock", ["constraints.txt", "constraints-demo.txt"])
def test_a_lock_file_pins_every_package_by_hash_and_names_no_source(lock: str) -> None:
    text = (ROOT / lock).read_text()
    requirements = [block for block in re.split(r"\n(?=[a-z0-9])", text) if "==" in block]
    assert requirements
    for block in requirements:
        assert "--hash=sha256:" in block, block
    assert not re.search(r"https?:|file:|--(extra-)?index-url|--find-links|--trusted-host", text)


@pytest.mark.parametrize("lock", ["constraints.txt", "constraints-demo.txt"])
def test_a_lock_file_fits_the_declared_bounds(lock: str) -> None:
    locked = pins(lock)
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.specifier.contains(locked[requirement.name.lower()]), requirement


def test_the_demo_takes_the_same_versions_as_the_suite() -> None:
    assert pins("constraints-demo.txt").items() <= pins("constraints.txt").items()


def test_the_floors_have_no_exceptions() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    assert [contract["type"] for contract in contracts] == ["layers", "forbidden", "acyclic_siblings"]
    assert contracts[0]["exhaustive"] is True
    assert not any(
        key.startswith(("ignore_imports", "exhaustive_ignores")) for contract in contracts for key in contract
    )
