"""Explain an import that fails because of where the module lies: a missing file, a taken name, a relative import."""

from __future__ import annotations

import ast
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType

from ..config.app_spec import AppSpec
from ..errors import NoSuchModule, did_you_mean

_ARGUMENT_PARSERS = ("argparse.py", "optparse.py", "click/core.py", "docopt.py", "docopt/__init__.py", "fire/core.py")


def require_file(spec: AppSpec, root: Path) -> None:
    """Raise `NoSuchModule` if *spec* names a file, as ``dir/file.py``, that does not exist.

    Without this check, ``json.py:app`` would find the module of the standard library.
    """
    if not spec.folder:
        return
    file = root / f"{spec.module}.py"
    if file.is_file():
        return
    found = "found a folder" if file.is_dir() else "found no such file"
    elsewhere = sorted([*root.glob(f"*/{file.name}"), *(root / spec.module).glob("__init__.py")])
    if elsewhere:
        advice = f'; there is {elsewhere[0]}: write "{_file_spec(spec, elsewhere[0].relative_to(root))}"'
    else:
        advice = did_you_mean(file.name, sorted(other.name for other in root.glob("*.py")))
    raise NoSuchModule(f'expected the file "{file}", {found}{advice}', files=[str(file)])


def _file_spec(spec: AppSpec, file: Path) -> str:
    """Return *spec* with *file*, relative to the folder of its own file, in place of that file."""
    _, _, attribute = spec.text.partition(".py")
    return f"{(Path(spec.folder) / file).as_posix()}{attribute}"


def shadowed_module(spec: AppSpec, expected: Path, module: ModuleType | None) -> NoSuchModule:
    """Return the error for the file *expected*, which is not imported because *module* has its name."""
    top_level = spec.module.partition(".")[0]
    other = getattr(module, "__file__", None)
    whose = _owner(top_level, other)
    ours = f'expected "{spec.module}" to be {expected}, but '
    if not whose:
        advice = f"{other} is already imported under that name; rename one of the two"
    else:
        kind = "folder" if "." in spec.module or expected.name == "__init__.py" else "file"
        advice = f'"{top_level}" is {whose}; rename the {kind} "{_top_level_path(spec, expected)}"'
    return NoSuchModule(ours + advice, files=[str(expected)])


def describe_elsewhere(module: ModuleType, root: Path) -> str:
    """Say that *module* is not one of the operator's, if it is of the standard library or installed. Else empty."""
    file = getattr(module, "__file__", None)
    whose = "" if file and root in Path(file).parents else _owner(module.__name__.partition(".")[0], file)
    return f'; "{module.__name__}" is {whose}, and "{root}" has no such module' if whose else ""


def _owner(top_level: str, file: str | None) -> str:
    """Say where the module *top_level* comes from, if the operator cannot rename it: Python, or a package."""
    if top_level in getattr(sys, "stdlib_module_names", ()):
        return "a module of Python's standard library"
    import sysconfig  # here, because most apps load

    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if file and any(Path(folder) in Path(file).parents for folder in packages):
        return "an installed package"
    return ""


def _top_level_path(spec: AppSpec, expected: Path) -> Path:
    """Return the file or folder in the root that gives the top-level name of *spec* to *expected*."""
    if expected.name == "__init__.py":
        expected = expected.parent
    return expected.parents[spec.module.count(".") - 1] if "." in spec.module else expected


def relative_import_advice(spec: AppSpec, root: Path, error: BaseException, tb: TracebackType | None) -> str:
    """Return how to name a module whose relative import leaves its package, or an empty string for other errors.

    A file that is named directly, or through a root that lies too deep, has no package that ``from .db`` could mean.
    """
    if not isinstance(error, ImportError) or not str(error).startswith("attempted relative import"):
        return ""
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    if tb is None:
        return ""
    package = tb.tb_frame.f_globals.get("__package__") or ""
    file = Path(tb.tb_frame.f_code.co_filename)
    if spec.module.partition(".")[0] not in (package.partition(".")[0], file.stem):
        return ""  # another module, which this app imports by a wrong name
    folders = _import_level(file, tb.tb_lineno) - len(package.split(".") if package else ())
    if folders <= 0:
        return ""
    parents = [root.resolve(), *root.resolve().parents]
    while folders + 1 < len(parents) and (parents[folders] / "__init__.py").exists():
        folders += 1
    new_root = parents[min(folders, len(parents) - 1)]
    names = root.resolve().relative_to(new_root).parts
    wrong = next((name for name in names if not name.isidentifier()), "")
    if wrong:
        right = re.sub(r"^(?=\d)|\W", "_", wrong)
        return f'; it uses relative imports, so its folder is a package: rename "{wrong}" to "{right}", for example'
    _, colon, attribute = spec.text.partition(".py:" if spec.folder else ":")
    app = ".".join([*names, spec.module]) + (f":{attribute}" if colon else "")
    is_below = len(Path(spec.folder).parts) == folders and ".." not in Path(spec.folder).parts
    place = "" if is_below else f', and root = "{new_root}"'
    return f'; it uses relative imports, so name it as a part of its package: write app = "{app}"{place}'


def _import_level(file: Path, line: int) -> int:
    """Return the number of dots of the relative import in *line* of *file*."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # pragma: no cover - the file has just been imported
        return 1
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return next((node.level for node in imports if node.lineno <= line <= (node.end_lineno or line)), 1)


def arguments_advice(error: BaseException) -> str:
    """Return how to give an app its command line, if *error* is the exit of a parser of arguments. Else empty."""
    if not isinstance(error, SystemExit):
        return ""
    files = {Path(frame.filename).as_posix() for frame in traceback.extract_tb(error.__traceback__)}
    if not any(file.endswith(f"/{parser}") for file in files for parser in _ARGUMENT_PARSERS):
        return ""
    return '; it parses sys.argv, so write its arguments, such as argv = ["--quiet"], which need process = "own"'


def variable_advice(error: BaseException) -> str:
    """Return how to set an environment variable, if *error* says that ``os.environ`` lacks it. Else empty."""
    if type(error) is not KeyError or not re.fullmatch(r"[A-Za-z_]\w*", str(error.args[0]) if error.args else ""):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].name != "__getitem__" or Path(frames[-1].filename).name not in ("<frozen os>", "os.py"):
        return ""
    return (
        f'; set this environment variable, or write env = {{ {error.args[0]} = "value" }} into the table of the mount'
    )
