"""The Dockerfiles and what they install, as their files stand; `make containers` builds and runs them."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.support.commands import ROOT

FOLDER = ROOT / "docker"
APPLICATION = (FOLDER / "application" / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PINNED = re.compile(r"^([a-z0-9_.-]+)(?:\[[a-z,]+\])?==(\S+)", re.MULTILINE)
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_INSTRUCTION = re.compile(r"^(CMD|ENTRYPOINT)\s+(.+)$", re.MULTILINE)

dockerfiles = pytest.mark.parametrize("path", sorted(FOLDER.glob("*/Dockerfile")), ids=lambda path: path.parent.name)


def _pins(path: Path) -> dict[str, str]:
    return dict(_PINNED.findall(path.read_text(encoding="utf-8")))


def _last_stage(text: str) -> str:
    return "FROM " + text.rpartition("\nFROM ")[2]


@dockerfiles
def test_commands_are_in_exec_form_so_that_signals_arrive(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = _INSTRUCTION.findall(text)
    assert found
    for _, command in found:
        assert isinstance(json.loads(command), list)
    assert re.search(r"HEALTHCHECK .*\\\n  CMD \[", text)


@dockerfiles
def test_no_image_runs_as_root(path: Path) -> None:
    users = re.findall(r"^USER (\S+)$", _last_stage(path.read_text(encoding="utf-8")), re.MULTILINE)
    assert users
    assert users[-1] not in {"root", "0", "0:0"}


@dockerfiles
def test_what_is_copied_can_be_read_by_the_images_user_whatever_the_checkouts_modes(path: Path) -> None:
    """COPY keeps the modes; `--chmod` needs BuildKit, which docker-compose 1.29 does not ask for."""
    text = _last_stage(path.read_text(encoding="utf-8"))
    readable = re.findall(r"^RUN chmod -R a\+rX (.+)$", text, re.MULTILINE)
    for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        target = words.split()[-1].rstrip("/")
        assert any(target == place or target.startswith(place + "/") for place in " ".join(readable).split())


@dockerfiles
def test_no_secret_is_an_argument_or_a_variable(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(("ARG", "ENV")):
            assert not re.search(r"PASSWORD|SECRET|TOKEN|_URL", line)


def test_every_install_from_the_index_demands_hashes() -> None:
    commands = [part for part in re.split(r"&&|\nRUN ", APPLICATION) if "pip" in part and " install " in part]
    installs = [part for part in commands if "apt-get" not in part]
    assert len(installs) == 3
    assert [("--require-hashes" in part) != ("--no-index" in part) for part in installs] == [True] * 3


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_what_is_installed_is_what_was_tested(name: str) -> None:
    path = FOLDER / "application" / name
    tested = _pins(ROOT / "requirements.lock")
    pins = _pins(path)
    assert pins
    assert {package: tested.get(package) for package in pins} == pins
    known = set(_HASH.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    assert set(_HASH.findall(path.read_text(encoding="utf-8"))) <= known
    assert "://" not in path.read_text(encoding="utf-8")


def test_every_dependency_of_the_commands_is_installed_and_no_tool_of_the_tests() -> None:
    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=~!;]", requirement)[0].strip() for requirement in requirements}

    extras = PROJECT["project"]["optional-dependencies"]
    wanted = names(PROJECT["project"]["dependencies"] + extras["otel"] + extras["redis"])
    pins = _pins(FOLDER / "application" / "requirements.lock")
    assert wanted <= set(pins)
    unwanted = names(extras["dev"] + extras["sandbox"]) - {"outbox-relay"}
    assert not unwanted & set(pins)
    built = _pins(FOLDER / "application" / "build.lock")
    assert set(PROJECT["build-system"]["requires"]) <= set(built)


def test_the_version_is_the_projects() -> None:
    assert f"ARG VERSION={PROJECT['project']['version']}\n" in APPLICATION


@dockerfiles
def test_labels_say_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for label in ("title", "description", "licenses"):
        assert f"org.opencontainers.image.{label}=" in text


def test_everything_that_is_copied_is_sent_to_the_engine() -> None:
    sent = (ROOT / ".dockerignore").read_text(encoding="ascii").splitlines()
    allowed = [line.removeprefix("!") for line in sent if line.startswith("!")]
    for path in FOLDER.glob("*/Dockerfile"):
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(encoding="utf-8"), re.MULTILINE):
            for source in sources.split():
                assert any(source == name or source.startswith(f"{name}/") for name in allowed), source
                assert list(ROOT.glob(source)), source
