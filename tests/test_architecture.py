"""What the design promises of the code, and import-linter cannot see."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
APPS = ("catalog", "accounts", "compute", "functions", "billing", "webhooks")
LAYERS = ("config", "core", "api", "dashboard", *APPS, "node")

# A new file here is a decision about the whole house, so it is taken here as well.
CORE = {
    "admin",
    "apps",
    "context",
    "db",
    "epoch",
    "errors",
    "events",
    "ids",
    "models",
    "seals",
    "shared",
    "states",
    "usage",
}
DASHBOARD = {
    "apps",
    "calls",
    "charts",
    "palette",
    "forms",
    "lists",
    "models",
    "pages",
    "styleguide",
    "templatetags/calls",
    "templatetags/charts",
    "templatetags/palette",
    "templatetags/ui",
}
API = {
    "admin",
    "apps",
    "bare",
    "browsable",
    "dry_run",
    "errors",
    "events",
    "filters",
    "idempotency",
    "limits",
    "middleware",
    "models",
    "openapi",
    "pagination",
    "parsers",
    "permissions",
    "preconditions",
    "renderers",
    "schemas",
    "serializers",
    "shelf",
    "tasks",
    "versions",
    "views",
    "waiting",
}

MAX_LINES, MAX_FUNCTION = 300, 40
# A file or function above the limit says why in its docstring with these words.
EXCUSE = re.compile(r"\blong\b.*\bbecause\b", re.IGNORECASE | re.DOTALL)

WRITES = {"save", "create", "update", "delete", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
# Arguments of a row's own save() and delete(); a verb of the same name takes others.
OF_ROWS = {"update_fields", "using", "force_insert", "force_update"}
# Where rows may be changed: the verbs, and what they stand on.
WRITERS = re.compile(
    r"(^|/)(actions|migrations|models)/|^core/|^api/(idempotency|limits|models|tasks)\.py$|^dashboard/models\.py$|^config/demo\.py$"
)


def tracked(*patterns: str) -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in names.stdout.split("\0") if name and (ROOT / name).is_file()]


def sources(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in tracked(f"{folder}/*.py"):
            yield str(path.relative_to(ROOT)), parsed(path)


def test_a_test_that_empties_the_database_fills_it_again():
    """One without leaves no plans and prices to those after it, and dozens fail that have done nothing wrong."""
    lines = [(path, line) for path in tracked("tests/*.py") for line in path.read_text().splitlines()]
    emptying = [(path, line) for path, line in lines if re.search(r"transaction=[T]rue", line)]
    assert [f"{path.relative_to(ROOT)}: {line}" for path, line in emptying if "serialized_rollback" not in line] == []


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize(("package", "files"), [("core", CORE), ("api", API), ("dashboard", DASHBOARD)])
def test_what_every_app_stands_on_has_exactly_the_files_that_were_decided(package, files):
    found = {str(path.relative_to(ROOT / package).with_suffix("")) for path in tracked(f"{package}/*.py")}
    assert {name for name in found if not name.endswith("__init__") and not name.startswith("migrations/")} == files


def test_no_folder_is_named_after_nothing():
    vague = {"utils", "common", "services", "helpers", "lib"}
    folders = {part for path in tracked() for part in path.relative_to(ROOT).parts}
    assert not vague & folders
    assert not {f"{name}.py" for name in vague} & folders


def test_rows_are_changed_in_actions_only():
    """No `row.save()` or `Model.objects.create()` anywhere else: it would record no event."""
    found = []
    for name, tree in sources("core", "api", "dashboard", "config", *APPS):
        if WRITERS.search(name):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
                owner = ast.unparse(node.func.value)
                row = node.func.attr in ("save", "delete") and not node.args
                if ".objects" in owner or (row and {keyword.arg for keyword in node.keywords} <= OF_ROWS):
                    found.append(f"{name}:{node.lineno} {owner}.{node.func.attr}()")
    assert not found, "\n".join(found)


def test_verbs_know_nothing_of_http():
    found = [
        f"{name}:{node.lineno}"
        for name, tree in sources(*APPS)
        if "/actions/" in name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for module in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
        if module.startswith(("django.http", "django.views", "django.shortcuts", "rest_framework"))
    ]
    assert not found


def test_verbs_take_their_arguments_by_name():
    found = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in sources(*APPS)
        if "/actions/" in name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and (node.args.args or node.args.vararg)
    ]
    assert not found


def test_a_long_file_or_function_says_why():
    found = []
    for path in tracked("*.py"):
        name, text = path.relative_to(ROOT), path.read_text()
        if "migrations" in name.parts:
            continue
        tree = parsed(path)
        if len(text.splitlines()) > MAX_LINES and not EXCUSE.search(ast.get_docstring(tree) or ""):
            found.append(f"{name} has {len(text.splitlines())} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION and not EXCUSE.search(ast.get_docstring(node) or ""):
                    found.append(f"{name}:{node.lineno} {node.name} has {lines} lines")
    assert not found, "\n".join(found)


def test_every_module_says_what_lives_in_it():
    """Where the name alone does not: app configs, admin tables, re-exports; commands have their `help`."""
    plain = re.compile(r"/(apps|admin|__init__)\.py$|/migrations/|/management/commands/")
    trees = [(name, tree) for name, tree in sources(*LAYERS) if tree.body and not plain.search(name)]
    assert [name for name, tree in trees if not ast.get_docstring(tree)] == []


def test_nothing_names_a_machine_or_a_package_registry():
    """A clone works anywhere: no path of the machine it was written on, and whoever installs chooses the index."""
    registries = r"pypi\.org|pythonhosted|registry\.npmjs|proxy\.golang|crates\.io|rubygems\.org|repo1\.maven"
    paths = r"/work/(main|shared)|/root/\.pyenv|/home/[a-z]+/"
    pattern = re.compile(f"{registries}|{paths}")
    found = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_its_hash_and_no_host(file):
    text = (ROOT / file).read_text()
    packages = re.findall(r"^[a-z0-9][\w.\-\[\]]*==\S+", text, re.MULTILINE)
    assert packages
    assert not re.search(r"https?://|--index-url|--find-links", text)
    for block in re.split(r"\n(?=[a-z0-9])", text):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_each_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|dev) = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    lines = [line for found in lists for line in found.splitlines()]
    assert len(lists) == 2
    assert [line for line in lines if "#" not in line] == []
