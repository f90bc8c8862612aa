"""What the package does not do at all: read in its source, since a test of what it does cannot show it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

import django_secure_auth

PACKAGE = Path(django_secure_auth.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))
TREES = {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imports_of(*modules: str) -> list[tuple[str, str]]:
    return [
        (page, name)
        for page, tree in TREES.items()
        for name in imported(tree)
        if any(name == module or name.startswith(f"{module}.") for module in modules)
    ]


def calls_of(*names: str) -> list[tuple[str, str]]:
    return [(page, ast.unparse(call)) for page, tree in TREES.items() for name, call in called(tree) if name in names]


WRITING = (
    ".write_text", ".write_bytes", ".export", ".touch", ".mkdir", ".symlink_to", ".rename", "makedirs", "mkstemp",
    "mkdtemp", "TemporaryFile", "TemporaryDirectory", "copyfile", "copy2", "copytree", "os.open", "os.rename",
    "os.replace", "os.link", "os.symlink",
)  # fmt: skip


def may_write(name: str, call: ast.Call) -> bool:
    """Whether a call makes or changes a file, as far as its name and its mode say."""
    if name.endswith((".objects.open", ".objects.touch", "cache.touch")):  # managers and caches
        return False
    if name.endswith(WRITING):
        return True
    if name.rpartition(".")[2] != "open":
        return False
    place = 1 if name in ("open", "io.open", "codecs.open", "gzip.open") else 0
    modes = [*call.args[place : place + 1], *(one.value for one in call.keywords if one.arg == "mode")]
    return not all(isinstance(one, ast.Constant) and set(str(one.value)) <= set("rbt") for one in modes)


def test_the_whole_package_is_read() -> None:
    assert len(SOURCES) > 100


@pytest.mark.control("ASVS-1.2.5")
def test_no_shell_is_started_and_one_program_by_the_doctor_alone() -> None:
    """pip-audit, by a command line that is a constant: no word of it is anybody's input."""
    assert imports_of("subprocess", "pty", "commands", "pexpect", "sh") == [("doctor/services.py", "subprocess")]
    started = [page for page, tree in TREES.items() for name, _ in called(tree) if name.startswith("subprocess.")]
    assert started == ["doctor/services.py"]
    assert not [page for page in SOURCES if "shell=" in page.read_text(encoding="utf-8")]
    starters = re.compile(
        r"(os\.)?(system|popen|startfile|fork(pty)?|exec[lv]p?e?|(posix_)?spawn\w*)|.*create_subprocess_\w+"
    )
    assert not [(page, name) for page, tree in TREES.items() for name, _ in called(tree) if starters.fullmatch(name)]


def test_the_doctors_command_line_is_a_constant() -> None:
    tree = TREES["doctor/services.py"]
    (call,) = [call for name, call in called(tree) if name.startswith("subprocess.")]
    assert ast.unparse(call.args[0]) == "command"
    (command,) = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "command"
    ]
    assert isinstance(command, ast.List)
    words = [ast.unparse(word) for word in command.elts if not isinstance(word, ast.Constant)]
    assert words == ["sys.executable"]


@pytest.mark.control("ASVS-1.3.2")
def test_no_text_is_run_as_code() -> None:
    assert calls_of("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec") == []
    # The cache on the database stores pickles, as Django's own of that kind does: written by us, in the site's tables.
    found = imports_of("code", "codeop", "pickle", "marshal", "shelve", "jsonpickle", "yaml")
    assert found == [("ratelimit/backends.py", "pickle")]
    # By name something is loaded where a setting of the project's says which: never out of a request.
    by_name = {page for page, _ in calls_of("import_string", "import_module", "importlib.import_module")}
    known = {"apps.py", "checks.py", "conf.py", "routes.py", "passwords/checks.py", "passwords/breached.py"}
    known |= {"passwords/validators.py", *(page for page in TREES if page.startswith("doctor/"))}
    assert by_name <= known, by_name - known


@pytest.mark.control("ASVS-1.5.1")
def test_no_xml_is_parsed() -> None:
    assert imports_of("xml", "lxml", "defusedxml", "xmltodict", "bs4", "html5lib") == []


@pytest.mark.control("ASVS-11.3.1", "ASVS-11.3.2")
def test_nothing_is_encrypted_so_that_no_mode_can_be_a_weak_one() -> None:
    """Every secret is derived or kept as a digest: none has to be recovered. What is imported signs and derives."""
    found = {name for _, name in imports_of("cryptography", "Crypto", "Cryptodome", "nacl")}
    allowed = re.compile(
        r"cryptography\.(exceptions|hazmat\.primitives\.(hashes|serialization|asymmetric|kdf\.hkdf))(\.|$)"
    )
    assert [name for name in found if not allowed.match(name)] == []
    assert not [name for name in found if re.search(r"ciphers|padding|fernet|aead", name, re.IGNORECASE)]


@pytest.mark.control("ASVS-6.3.2")
@pytest.mark.django_db
def test_no_account_is_made_but_for_who_registers() -> None:
    """Neither a migration nor a command makes one; a user model's own manager does when it is asked."""
    assert not get_user_model()._base_manager.exists()  # in a database that was just migrated
    made = [
        (page, name)
        for page, tree in TREES.items()
        for name, _ in called(tree)
        if name.endswith((".create_user", ".create_superuser"))
    ]
    assert {page for page, _ in made} <= {"accounts/models.py"}
    migration = TREES["migrations/0001_initial.py"]
    assert sorted(page for page in TREES if page.startswith("migrations/0")) == ["migrations/0001_initial.py"]
    assert not [name for name, _ in called(migration) if name.endswith(("RunPython", "RunSQL"))]


@pytest.mark.control("ASVS-1.2.3")
def test_no_template_has_a_script_or_an_attribute_that_runs() -> None:
    templates = sorted((PACKAGE / "templates").rglob("*.html"))
    assert templates
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<script|javascript:|\son\w+\s*=|\|\s*safe(seq)?\b|mark_safe", text, re.IGNORECASE), (
            template
        )
        # The text parts of mails are no HTML; every HTML page escapes.
        assert "autoescape off" not in text, template
    # One text is called safe: HTML that has just been cleaned.
    marked = calls_of("mark_safe", "SafeString", "safestring.mark_safe", "SafeText")
    assert marked == [("templatetags/secure_auth.py", "mark_safe(sanitize.clean_html(text, preset))")]


@pytest.mark.control("ASVS-5.3.2")
def test_a_file_is_written_only_where_whoever_runs_a_command_says() -> None:
    writers = {page for page, tree in TREES.items() for name, call in called(tree) if may_write(name, call)}
    assert writers == {"passwords/breached.py"}  # the filter, where `secure_auth_breached build` is told to


@pytest.mark.parametrize(
    ("text", "writes"),
    [
        ("open(p)", False), ("path.open()", False), ("open(p, 'rb')", False), ("path.open('r', encoding='x')", False),
        ("open(p, 'w')", True), ("path.open('w')", True), ("path.open(mode='a')", True), ("open(p, mode='x')", True),
        ("open(p, 'r+')", True), ("open(p, mode)", True), ("io.open(p, 'wb')", True), ("path.open(mode=mode)", True),
        ("os.open(p, flags)", True), ("path.write_text('x')", True), ("filter.export(p)", True), ("path.touch()", True),
        ("Row.objects.open(now)", False), ("cache.touch(key, 5)", False),
        ("tempfile.NamedTemporaryFile()", True), ("shutil.copyfile(p, q)", True), ("storage.save(p, q)", False),
    ],
)  # fmt: skip
def test_how_a_writer_is_known(text: str, writes: bool) -> None:
    (found,) = called(ast.parse(text))
    assert may_write(*found) is writes
