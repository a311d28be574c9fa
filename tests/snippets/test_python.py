"""The programs of docs/writers.md in Python."""

import sys

import pytest

from tests.snippets.page import Program, programs
from tests.snippets.shop import Shop

PROGRAMS = programs("Python")
# What a Django project has anyway: settings, and an app with a model.
DJANGO = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models


class Order(models.Model):
    status = models.TextField()
    version = models.BigIntegerField()

    class Meta:
        db_table = "orders"
""",
    "project.py": """
import os
from urllib.parse import urlsplit

place = urlsplit(os.environ["DATABASE_URL"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": place.path[1:], "USER": place.username,
    "PASSWORD": place.password, "HOST": place.hostname, "PORT": place.port,
}}
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
""",
    "sitecustomize.py": "import django\ndjango.setup()\n",
}


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.client for program in PROGRAMS])
def test_a_program_of_the_page_pays_publishes_and_submits_in_one_transaction(program: Program, shop: Shop) -> None:
    settings = {}
    if program.client == "Django":
        shop.write(DJANGO)
        settings = {"DJANGO_SETTINGS_MODULE": "project", "PYTHONPATH": str(shop.directory)}
    shop.write({"pay.py": program.text})
    shop.run(sys.executable, "pay.py", **settings)
    shop.assert_paid()


def test_the_page_has_the_clients_that_it_promises() -> None:
    assert [program.client for program in PROGRAMS] == ["psycopg 3", "psycopg2", "SQLAlchemy", "Django", "asyncpg"]
