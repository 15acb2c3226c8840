"""fussy-southrollback with real Django on SQLite, and with Alembic: two firmware versions, forwards and backwards, called
from a real .pre-install."""
import os
import shutil
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from sentences import Skipped, Workspace, check, equal, main, sentence  # noqa: E402

ENABLE = os.environ["FUSSY_TEST_ENABLE"]
ENV = {"PATH": "/usr/bin:/bin"}

MANAGE = """#!/usr/bin/python3
import os, sys
sys.dont_write_bytecode = True
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """SECRET_KEY = "test"
INSTALLED_APPS = ["shop", "stock"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{database}"}}}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
"""
INITIAL = """from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.CreateModel("Item", [("id", models.AutoField(primary_key=True)),
                                                  ("name", models.CharField(max_length=50))])]
"""
ADD = """from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("{app}", "{before}")]
    operations = [migrations.AddField("Item", "{field}", models.IntegerField(default=7))]
"""
SHOP = [("0001_initial", INITIAL), ("0002_price", ADD.format(app="shop", before="0001_initial", field="price")),
        ("0003_tax", ADD.format(app="shop", before="0002_price", field="tax"))]
STOCK = [("0001_initial", INITIAL), ("0002_count", ADD.format(app="stock", before="0001_initial", field="count"))]

PRE_INSTALL = """#!/bin/sh
set -eu
current="$FUSSY_TARGET/current"
[ -e "$current" ] || exit 0
{command} -f "$1" -a shop -p shop/migrations -a stock -p stock/migrations -d "$current/manage.py"
"""
POST_INSTALL = """#!/bin/sh
exec "$1/manage.py" migrate --noinput
"""


class Device(Workspace):
    """A target with two versions of a firmware: the second has more migrations."""

    def __init__(self):
        super().__init__()
        self.target = self.at("firmware")
        self.database = self.at("data.sqlite3")
        self.version("fw-1", SHOP[:1], STOCK[:1])
        self.version("fw-2", SHOP, STOCK)

    def version(self, name, shop, stock):
        root = os.path.join("firmware", name)
        self.write(f"{root}/manage.py", MANAGE, 0o755)
        self.write(f"{root}/settings.py", SETTINGS.format(database=self.database))
        for app, migrations in ("shop", shop), ("stock", stock):
            self.write(f"{root}/{app}/__init__.py")
            self.write(f"{root}/{app}/migrations/__init__.py")
            for migration, text in migrations:
                self.write(f"{root}/{app}/migrations/{migration}.py", text)
        command = os.path.join(self.commands, "fussy-southrollback")
        self.write(f"{root}/.pre-install", PRE_INSTALL.format(command=command), 0o755)
        self.write(f"{root}/.post-install", POST_INSTALL, 0o755)

    def enable(self, name):
        done = self.run(ENABLE, os.path.join(self.target, name), self.target)
        check(done.code == 0, done)
        equal(os.readlink(os.path.join(self.target, "current")), name)
        return done

    def make_current(self, name):
        link = os.path.join(self.target, "current")
        if os.path.islink(link):
            os.unlink(link)
        os.symlink(name, link)
        self.must(os.path.join(self.target, name, "manage.py"), "migrate", "--noinput")

    def roll_back(self, *argv, to="fw-1", **named):
        named.setdefault("env", ENV)
        return self.run("fussy-southrollback", "-f", os.path.join(self.target, to), *argv, **named)

    def sql(self, statement):
        with sqlite3.connect(self.database) as db:
            return db.execute(statement).fetchall()

    def applied(self, app):
        return [name for name, in self.sql(f"select name from django_migrations where app='{app}' order by name")]

    def columns(self, table):
        return [row[1] for row in self.sql(f"pragma table_info({table})")]


def names(migrations):
    return [name for name, _ in migrations]


@sentence("forwards, backwards and forwards again, from a real .pre-install: the data base fits the version, data is kept")
def _(t):
    t.enable("fw-1")
    t.sql("insert into shop_item (name) values ('bolt')")
    for _ in range(2):
        t.enable("fw-2")
        equal((t.applied("shop"), t.applied("stock")), (names(SHOP), names(STOCK)))
        equal(t.sql("select name, price, tax from shop_item"), [("bolt", 7, 7)])
        done = t.enable("fw-1")
        equal((t.applied("shop"), t.applied("stock")), (["0001_initial"], ["0001_initial"]))
        equal(t.columns("shop_item"), ["id", "name"])
        equal(t.columns("stock_item"), ["id", "name"])
        equal(t.sql("select name from shop_item"), [("bolt",)])
        check("Unapplying shop.0003_tax" in done.err, "the output of the tool is in the log: " + done.err)


@sentence("a migration that cannot be undone stops the install, and the newer version stays")
def _(t):
    t.write("firmware/fw-2/shop/migrations/0003_tax.py", ADD.format(app="shop", before="0002_price", field="tax").replace(
        "operations = [", "operations = [migrations.RunPython(migrations.RunPython.noop), "))
    t.make_current("fw-2")
    done = t.run(ENABLE, os.path.join(t.target, "fw-1"), t.target)
    equal(done.code, 3)
    equal(os.readlink(os.path.join(t.target, "current")), "fw-2")
    equal(t.applied("shop"), names(SHOP))


@sentence("the output of the migrate command is printed")
def _(t):
    t.make_current("fw-2")
    done = t.roll_back("-p", "shop/migrations", "-a", "shop", "-d", os.path.join(t.target, "current/manage.py"))
    equal((done.code, done.err), (0, ""))
    check("Unapplying shop.0003_tax... OK" in done.out, done.out)
    equal(t.applied("shop"), ["0001_initial"])
    equal(t.applied("stock"), names(STOCK))


@sentence("when there is nothing to undo, nothing runs and nothing is printed")
def _(t):
    t.make_current("fw-1")
    for to in "fw-1", "fw-2":
        done = t.roll_back("-p", "shop/migrations", "-a", "shop", "-d", "/nonexistent", to=to)
        equal((done.code, done.out, done.err), (0, "", ""))


@sentence("django-admin with DJANGO_SETTINGS_MODULE works as manage.py does, and is found without -d")
def _(t):
    env = {**ENV, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": os.path.join(t.target, "current"),
           "PYTHONDONTWRITEBYTECODE": "1"}
    for options in ["--django-admin", "django-admin"], []:
        t.make_current("fw-2")
        done = t.roll_back("--path", "shop/migrations", "--app", "shop", *options, env=env)
        equal(done.code, 0, done)
        equal(t.applied("shop"), ["0001_initial"])


@sentence("a manage.py that is not executable is run by python3")
def _(t):
    t.make_current("fw-2")
    os.chmod(t.at("firmware/fw-2/manage.py"), 0o644)
    done = t.roll_back("-p", "shop/migrations", "-a", "shop", "-d", os.path.join(t.target, "current/manage.py"))
    equal(done.code, 0, done)
    equal(t.applied("shop"), ["0001_initial"])


@sentence("undoing everything needs --zero")
def _(t):
    t.make_current("fw-2")
    shutil.rmtree(t.at("firmware/fw-1/shop/migrations"))
    argv = ["-p", "shop/migrations", "-a", "shop", "-d", os.path.join(t.target, "current/manage.py")]
    done = t.roll_back(*argv)
    equal((done.code, done.out), (2, ""))
    check("has to be asked for" in done.err, done.err)
    equal(t.applied("shop"), names(SHOP))
    equal(t.roll_back(*argv, "--zero").code, 0)
    equal(t.applied("shop"), [])


@sentence("a failure of the tool is exit status 2, with what it said")
def _(t):
    t.make_current("fw-2")
    done = t.roll_back("-p", "shop/migrations", "-a", "nosuchapp", "-d", os.path.join(t.target, "current/manage.py"))
    equal(done.code, 2)
    check("nosuchapp" in done.err and "fussy-southrollback: " in done.err, done.err)
    equal(t.roll_back("-p", "shop/migrations", "-a", "shop", "-d", "/nonexistent").code, 2)


@sentence("--dry-run tells what would be undone, and undoes nothing")
def _(t):
    t.make_current("fw-2")
    argv = ["-a", "shop", "-p", "shop/migrations", "-a", "stock", "-p", "stock/migrations"]
    equal(t.roll_back(*argv, "-n").out, "shop 0001_initial\nstock 0001_initial\n")
    equal(t.applied("shop"), names(SHOP))


@sentence("where the versions part and meet again, it goes back to the last common position and warns; --rule prefix goes further")
def _(t):
    for name in "0001_a", "0002_b", "0003_c", "0004_d":
        t.write(f"firmware/fw-2/parted/{name}.py")
    for name in "0001_a", "0002_x", "0003_c":
        t.write(f"firmware/fw-1/parted/{name}.py")
    t.make_current("fw-2")
    argv = ["-a", "shop", "-p", "parted", "-d", "echo"]
    done = t.roll_back(*argv)
    equal((done.code, done.out), (0, "migrate --noinput shop 0003_c\n"))
    check("0002_b.py stays applied" in done.err and "--rule prefix" in done.err, done.err)
    equal(t.roll_back(*argv, "--rule", "position").out, done.out)
    done = t.roll_back(*argv, "--rule", "prefix")
    equal((done.code, done.out, done.err), (0, "migrate --noinput shop 0001_a\n", ""))
    equal(t.roll_back(*argv, "--rule", "newest").code, 2)


@sentence("each application needs its path, and a wrong path is warned of")
def _(t):
    t.make_current("fw-2")
    equal(t.roll_back("-a", "shop", "-a", "stock", "-p", "shop/migrations").code, 2)
    equal(t.run("fussy-southrollback", "-a", "shop", "-p", "x").code, 2)
    done = t.roll_back("-a", "shop", "-p", "wrong/path", "-d", "/nonexistent")
    equal((done.code, done.out), (0, ""))
    check("wrong/path" in done.err, done.err)


@sentence("another tool can be called, with its own pattern")
def _(t):
    t.make_current("fw-2")
    for version, files in ("fw-2", ["V1__a.sql", "V2__b.sql"]), ("fw-1", ["V1__a.sql"]):
        for name in files:
            t.write(f"firmware/{version}/sql/{name}")
    done = t.roll_back("-a", "x", "-p", "sql", "--pattern", "V*__*.sql", "--command", "echo undo {app} down to {name} = {id}")
    equal((done.code, done.out), (0, "undo x down to V1__a = V1\n"))
    equal(t.roll_back("-a", "x", "-p", "sql", "-c", "echo {nonsense}").code, 2)
    equal(t.roll_back("-a", "x", "-p", "sql", "-c", "true", "-d", "django-admin").code, 2)


ALEMBIC_ENV = """from alembic import context
from sqlalchemy import create_engine
with create_engine("sqlite:///{database}").connect() as connection:
    context.configure(connection=connection, transactional_ddl=False)
    with context.begin_transaction():
        context.run_migrations()
"""
ALEMBIC_STEP = """from alembic import op
revision, down_revision = "{revision}", {down}
def upgrade():
    op.execute("{up}")
def downgrade():
    op.execute("{undo}")
"""


@sentence("Alembic is rolled back by --command")
def _(t):
    if not shutil.which("alembic"):
        raise Skipped("alembic is not installed")
    steps = [("0001", "None", "create table part (id integer)", "drop table part"),
             ("0002", "'0001'", "create table price (id integer)", "drop table price")]
    for version, count in ("fw-1", 1), ("fw-2", 2):
        root = f"firmware/{version}/db"
        t.write(f"{root}/env.py", ALEMBIC_ENV.format(database=t.at("alembic.sqlite3")))
        t.write(f"{root}/alembic.ini", "[alembic]\nscript_location = %(here)s\n")
        for (revision, down, up, undo), name in list(zip(steps, ["part", "price"]))[:count]:
            t.write(f"{root}/versions/{revision}_{name}.py", ALEMBIC_STEP.format(revision=revision, down=down, up=up, undo=undo))
    t.make_current("fw-2")
    ini = os.path.join(t.target, "current/db/alembic.ini")
    t.must("alembic", "-c", ini, "upgrade", "head")

    def tables():
        with sqlite3.connect(t.at("alembic.sqlite3")) as db:
            return sorted(name for name, in db.execute("select name from sqlite_master where type='table'"))

    equal(tables(), ["alembic_version", "part", "price"])
    done = t.roll_back("-a", "db", "-p", "db/versions", "--command", f"alembic -c {ini} downgrade {{id}}")
    equal(done.code, 0, done)
    equal(tables(), ["alembic_version", "part"])
    shutil.rmtree(t.at("firmware/fw-1/db/versions"))
    done = t.roll_back("-a", "db", "-p", "db/versions", "-c", f"alembic -c {ini} downgrade {{id}}", "--zero", "--zero-name", "base")
    equal(done.code, 0, done)
    equal(tables(), ["alembic_version"])


if not shutil.which("django-admin"):
    print("skipped: python3-django is not installed")
    sys.exit(77)
main(Device)
