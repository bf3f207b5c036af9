"""Imports run one way, so that a reader knows from a room's name what its modules can depend on."""

import ast
from pathlib import Path

import mountpoint

PACKAGE = Path(mountpoint.__file__).parent

#: Each room, and each module outside a room, with the rooms that it may import. Every other direction is a mistake.
ALLOWED = {
    "errors": set(),
    "wsgi": {"errors"},
    "config": {"errors", "wsgi"},
    "loading": {"errors", "wsgi", "config"},
    "workers": {"errors", "wsgi", "config", "loading"},
    "server": {"errors", "wsgi", "config", "loading", "workers"},
    "status": {"errors", "wsgi", "config", "loading", "workers"},
    "lifecycle": {"errors", "wsgi", "config", "loading", "workers", "server", "status"},
    "console": {"errors", "lifecycle"},
    "doctor": {"errors", "wsgi", "config", "loading", "workers"},
    "proxyconf": {"errors", "wsgi", "config", "loading"},
    "check": {"errors", "wsgi", "config", "loading", "workers"},
    "resolve": {"errors", "wsgi", "config", "loading"},
    "docs": {"errors", "config"},
    "cli": {"errors", "config", "lifecycle", "console", "check", "resolve", "doctor", "proxyconf", "docs"},
    "__main__": {"cli"},
    "__init__": {"errors", "wsgi", "config", "loading", "lifecycle"},
}

#: Third-party packages, with the rooms that may import them.
THIRD_PARTY = {"waitress": {"server"}, "werkzeug": {"doctor", "status"}, "hupper": {"lifecycle"}}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def place(file):
    """Return the room of *file*, or the name of a module that is outside every room."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(source, file):
    """Return the absolute names that *source* imports: at the top, in functions, and for the type checker alone."""
    package = ["mountpoint", *file.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*outer, *([node.module] if node.module else [])])
            # ``from . import plan`` names a module, ``from .plan import Plan`` does not.
            names |= {base if node.module else f"{base}.{alias.name}" for alias in node.names}
    return names


def wrong_directions(source, file):
    """Return each import of *source*, the text of *file*, that goes where it may not."""
    own = place(file)
    wrong = []
    for name in sorted(imported(source, file)):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if (top == "mountpoint" and target not in ({own} | ALLOWED[own])) or own not in THIRD_PARTY.get(top, {own}):
            wrong.append(name)
    return wrong


def test_every_import_goes_in_an_allowed_direction():
    found = {
        file.relative_to(PACKAGE).as_posix(): wrong_directions(file.read_text("utf-8"), file) for file in modules()
    }
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_every_module_is_in_a_known_place():
    assert {place(file) for file in modules()} == set(ALLOWED)


def test_directions_have_no_circle():
    order = []
    while len(order) < len(ALLOWED):
        order += (ready := [name for name in ALLOWED if name not in order and ALLOWED[name] <= set(order)])
        assert ready, f"a circle among {set(ALLOWED) - set(order)}"


def test_no_two_modules_of_a_room_import_each_other():
    names = {file: f"mountpoint.{'.'.join(file.relative_to(PACKAGE).with_suffix('').parts)}" for file in modules()}
    imports = {name: imported(file.read_text("utf-8"), file) for file, name in names.items()}
    assert [(one, other) for one in imports for other in imports[one] if one in imports.get(other, ())] == []


def test_a_wrong_direction_is_found():
    file = PACKAGE / "wsgi" / "table.py"
    for_the_type_checker = "if TYPE_CHECKING:\n    from ..config.reader import Config\n"
    in_a_function = "def f():\n    from waitress import serve\n"
    assert wrong_directions(for_the_type_checker, file) == ["mountpoint.config.reader"]
    assert wrong_directions(in_a_function, file) == ["waitress"]
    assert wrong_directions("from . import keys\nfrom ..errors import Problem\nimport re\n", file) == []
