"""Imports one of our packages by its own place, so that no other package of that name is taken for it."""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType

_HOME = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))  # noqa: PTH100, PTH118, PTH120 - pathlib takes a while


def load(module: str) -> ModuleType:
    """Import `module`, which lies in one of our packages."""
    _import_package(module.partition(".")[0])
    return import_module(module)


def _import_package(name: str) -> None:
    """Import our package `name`, which lies beside this one, also when another `name` comes first on Python's path.

    With PYTHONPATH or `python -m`, that is a package of the application, which may have the same name.
    """
    spec = PathFinder.find_spec(name, [_HOME])
    if name in sys.modules or spec is None or spec.loader is None:
        return
    package = module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
