"""The package keeps its own rules: size, names, where SQL may be, what is public."""

import ast
import re
from pathlib import Path

import durable_otp

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "durable_otp"
LONGEST_FILE = 400
LONGEST_FUNCTION = 50
SHORTEST_REASON = 15
FORBIDDEN = {"utils", "util", "common", "helpers", "core", "base", "models", "types", "misc", "lib"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX)"
    r"|ALTER\s+TABLE|DROP\s+(TABLE|SCHEMA))\b",
    re.DOTALL,
)
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")

MODULES = sorted(PACKAGE.rglob("*.py"))
SOURCES = [
    *MODULES,
    *sorted((ROOT / "bench").rglob("*.py")),
    *sorted((ROOT / "docs").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
]


def name_of(path):
    return str(path.relative_to(ROOT))


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def docstrings(tree):
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds) and node.body]
    firsts = [node.body[0] for node in nodes]
    return {id(first.value) for first in firsts if isinstance(first, ast.Expr)}


def test_a_file_fits_one_head():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_a_module_says_why_it_exists():
    docs = {name_of(path): ast.get_docstring(parsed(path)) or "" for path in MODULES}
    assert [name for name, doc in docs.items() if len(doc) < SHORTEST_REASON] == []


def test_a_module_has_a_name_of_its_domain():
    parts = {path: {path.stem, *path.relative_to(PACKAGE).parts} for path in MODULES}
    assert [name_of(path) for path, names in parts.items() if names & FORBIDDEN] == []


def test_functions_are_short():
    assert [found for path in MODULES for found in long_functions(path)] == []


def long_functions(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            if (node.end_lineno or 0) - first.lineno + 1 > LONGEST_FUNCTION:
                yield f"{name_of(path)}: {node.name}"


def test_sql_is_in_sql_files():
    assert [found for path in MODULES for found in statements_in(path)] == []


def statements_in(path):
    tree = parsed(path)
    prose = docstrings(tree)
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in prose and SQL.search(node.value):
            yield f"{name_of(path)}: {node.value}"


def test_nothing_is_announced_and_not_done():
    assert [name_of(path) for path in SOURCES if UNFINISHED.search(path.read_text())] == []


def test_the_public_names_exist_are_sorted_and_say_what_they_are():
    names = durable_otp.__all__
    assert names == sorted(names)
    for name in names:
        thing = getattr(durable_otp, name)
        assert (thing.__doc__ or "").strip(), name


def test_the_public_names_are_all_there_are():
    # pytest adds names of its own, such as "@py_builtins", to a package that has a plugin
    public = {name for name in vars(durable_otp) if name.isidentifier() and name[0] != "_"}
    modules = {path.stem for path in PACKAGE.iterdir()} | {"Any", "import_module"}
    assert public - modules <= set(durable_otp.__all__)


def test_the_version_is_that_of_the_distribution():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{durable_otp.__version__}"' in project
