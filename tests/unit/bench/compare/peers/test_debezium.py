"""The peer Debezium: what its program is built from."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.compare.peers import debezium
from bench.load.peers import installing

_POM = Path(installing.__file__).parent / "debezium" / "pom.xml"
_NAMES = {"": "http://maven.apache.org/POM/4.0.0"}


@pytest.fixture(name="project")
def _project() -> ET.Element:
    return ET.parse(_POM).getroot()  # noqa: S314 - a file of the project


def test_the_version_that_is_reported_is_the_one_that_is_installed(project: ET.Element) -> None:
    installed = project.findtext("properties/debezium", namespaces=_NAMES)
    assert installed == f"{debezium.PEER.version}.Final"


def test_each_package_and_each_plugin_has_a_version(project: ET.Element) -> None:
    packages = project.findall(".//dependency", _NAMES) + project.findall(".//plugin", _NAMES)
    versions = [each.findtext("version", namespaces=_NAMES) for each in packages]
    assert versions
    assert None not in versions


def test_packages_come_from_where_maven_is_configured_to_get_them(project: ET.Element) -> None:
    assert not project.findall(".//repository", _NAMES)
    assert not project.findall(".//pluginRepository", _NAMES)
