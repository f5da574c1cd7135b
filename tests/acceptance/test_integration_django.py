"""The recipes of docs/integrations.md for Django: a site, its command, and its transactions."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from tests.support.postgres import fresh_database
from tests.support.recipes import write

pytest.importorskip("django", reason="Django is not installed")

SETTINGS = """
SECRET_KEY = "no secret"
INSTALLED_APPS = ["shop"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", {database}}}}}
"""
MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""
MODELS = """
from django.db import models


class Order(models.Model):
    customer = models.TextField()
    shipped = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"
"""
VISITS = """
import os
import time

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from django.db import connection, transaction
from durable_otp import WorkflowNotFound
from shop import orders
from shop.models import Order

with connection.schema_editor() as editor:
    editor.create_model(Order)
durable = orders.durable()
durable.migrate()
while True:
    try:
        durable.start("ship", {"order": 0})
        break
    except WorkflowNotFound:
        time.sleep(0.05)
places = [orders.place, orders.place_and_start_later]
for place in places:
    try:
        with transaction.atomic():
            place("Bob")
            raise LookupError
    except LookupError:
        pass
print(Order.objects.count(), durable.count_executions())
placed = sorted(place("Ada").pk for place in places)
while Order.objects.filter(shipped=True).count() < 2:
    time.sleep(0.05)
call = "SELECT durable.enqueue('ship', %s, idempotency_key => 'many')"
with transaction.atomic():
    here = {"idempotency_keys": ["many", None], "connection": connection.connection}
    durable.start_many("ship", [{"order": 0}, {"order": 0}], **here)
    with connection.cursor() as cursor:
        cursor.execute(call, ['{"order": 0}'])
numbers = sorted(each.input["order"] for each in durable.list_executions("ship"))
print(numbers == [0, 0, 0, *placed])
"""


def test_a_site_runs_its_workflows_and_starts_them_in_its_transactions(
    postgres_dsn: str, tmp_path: Path
) -> None:
    command = "shop/management/commands/workflows.py"
    write(tmp_path, "shop/tasks.py", "shop/orders.py", command)
    with fresh_database(postgres_dsn) as dsn:
        write_site(tmp_path, dsn)
        environment = os.environ | {"DURABLE_DSN": dsn}
        options: Any = {"cwd": tmp_path, "env": environment, "text": True}
        tree = subprocess.Popen(
            [sys.executable, "manage.py", "workflows"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        try:
            visits = subprocess.run(
                [sys.executable, "-c", VISITS],
                capture_output=True,
                check=False,
                timeout=100,
                **options,
            )
            tree.terminate()
            _, said = tree.communicate(timeout=60)
        finally:
            tree.kill()
            tree.wait()
        assert visits.stdout == "0 1\nTrue\n", visits.stderr + said
        assert tree.returncode == 0, said
        with psycopg.connect(dsn) as connection:
            shipped = connection.execute("SELECT bool_and(shipped) FROM shop_order").fetchone()
        assert shipped == (True,)


def write_site(root: Path, dsn: str) -> None:
    """Write what a site has anyway."""
    parts = conninfo.conninfo_to_dict(dsn)
    names = {"dbname": "NAME", "user": "USER", "host": "HOST", "port": "PORT"}
    given = {names[name]: value for name, value in parts.items() if name in names}
    database = ", ".join(f'"{name}": "{value}"' for name, value in given.items())
    files = {
        "settings.py": SETTINGS.format(database=database),
        "manage.py": MANAGE,
        "shop/models.py": MODELS,
        "config.toml": '[durable]\nworkflows = ["shop.tasks"]\n[queues.default]\nconcurrency = 1\n',
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
