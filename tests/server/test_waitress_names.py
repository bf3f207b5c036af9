"""`waitress_names` lists exactly the names of waitress that the code uses.

The test reads the source of every module of `mountpoint.server` and collects

- the names that a module imports from waitress, and the attributes of those modules;
- the methods and attributes that our classes override;
- the attributes of waitress's objects, such as ``channel.will_close``.

For the last kind, `CLASSES` gives the class of an expression in the source. An expression outside `CLASSES` and
`OTHERS` is an error if its attribute has the name of one of waitress's.
"""

import ast
import functools
import importlib
import inspect
import pkgutil
import textwrap

import pytest
import waitress.trigger
from waitress import buffers, task, wasyncore
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

import mountpoint.server
from mountpoint.server import channel, listener, waitress_names

CLASSES = {
    "adj": Adjustments,
    "adjustments": Adjustments,
    "buffer": buffers.OverflowableBuffer,
    "changed": channel.Channel,
    "channel": channel.Channel,
    "data": buffers.ReadOnlyFileBasedBuffer,
    "file": buffers.ReadOnlyFileBasedBuffer,
    "pipe": waitress.trigger.trigger,
    "self.channel.server": listener.TcpListener,
    "self.channel.server.adj": Adjustments,
    "each": HTTPRequestParser,
    "failed": HTTPRequestParser,
    "idle": channel.Channel,
    "item[1]": channel.Channel,
    "listener": listener.TcpListener,
    "owner": channel.Channel,
    "request": HTTPRequestParser,
    "response": buffers.ReadOnlyFileBasedBuffer,
    "running.channel": channel.Channel,
    "self._buffer": buffers.OverflowableBuffer,
    "self.adj": Adjustments,
    "self.channel": channel.Channel,
    "self.client_request": HTTPRequestParser,
    "self.first_request": HTTPRequestParser,
    "self.outbufs[-1]": buffers.OverflowableBuffer,
    "self.request": HTTPRequestParser,
    "self.requests[0]": HTTPRequestParser,
    "self.server": listener.TcpListener,
    "self.task_dispatcher": task.ThreadedTaskDispatcher,
    "self.trigger": waitress.trigger.trigger,
    "server": listener.TcpListener,
    "server.adj": Adjustments,
    "task": task.Task,
    "wasyncore.dispatcher": wasyncore.dispatcher,
}
#: Expressions that are not waitress's objects, but have an attribute of the same name.
OTHERS = {
    *(
        "_ESCAPES",
        "accepting",
        "self.outbufs",
        "self.owners",
        "lines",
        "os",
        "owner.socket",
        "address",
        "bound",
        "bound.socket",
        "body",
        "ending",
        "environ",
        "error",
        "found",
        "head",
        "headers",
        "logger",
        "mount",
        "one",
        "queue.limits",
    ),
    *(
        "queue.waiting",
        "request.headers",
        "running",
        "self.headers",
        "self.requests",
        "self.socket",
        "settings",
        "sock",
        "socket",
    ),
    *("target", "urls"),
}
#: Classes of ours that waitress uses instead of its own, though they do not inherit from those.
STAND_INS = {"FairQueues": task.ThreadedTaskDispatcher, "Parser": HTTPRequestParser}
#: Modules that parse text and never meet an object of waitress.
PURE = {"head", "body", "body_limits"}

LISTED = {(entry.owner, name) for entry in waitress_names.DEPENDENCIES for name in entry.names}


@functools.cache
def names_of(cls):
    """Return the names that *cls* defines or sets on ``self``, and those that it only reads there."""
    on_self = [
        node
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls))))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    ]
    defined = {name for name in vars(cls) if name == "__init__" or not name.startswith("__")}
    defined |= {node.attr for node in on_self if isinstance(node.ctx, ast.Store)}
    return defined, {node.attr for node in on_self} - defined


def waitress_bases(cls):
    return [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "waitress"]


def owner(cls, name):
    """Return the class of waitress, among *cls* and its bases, that has *name*, or None."""
    for kind in (0, 1):
        for base in waitress_bases(cls):
            if name in names_of(base)[kind]:
                return f"{base.__module__}.{base.__name__}"
    return None


ANY_NAME = set().union(
    *(
        names
        for cls in [*CLASSES.values(), *STAND_INS.values(), task.ErrorTask]
        for base in waitress_bases(cls)
        for names in names_of(base)
    )
)


class Uses(ast.NodeVisitor):
    """Collects the names of waitress in the source of a module as pairs of owner and name."""

    def __init__(self, module):
        self.module = module
        self.found, self.unknown = set(), set()
        self.cls = object  # the class whose body is visited

    def add(self, cls, name):
        if owned_by := owner(cls, name):
            self.found.add((owned_by, name))

    def visit_ImportFrom(self, node):
        if node.level == 0 and node.module.partition(".")[0] == "waitress":
            self.found |= {(node.module, alias.name) for alias in node.names}

    def visit_ClassDef(self, node):
        self.cls = STAND_INS.get(node.name) or getattr(self.module, node.name, object)
        for statement in node.body:
            targets = getattr(statement, "targets", [getattr(statement, "target", None)])
            for name in [getattr(statement, "name", None), *(getattr(target, "id", None) for target in targets)]:
                if name and not (name == "__init__" and node.name in STAND_INS):
                    self.add(self.cls, name)
        self.generic_visit(node)
        self.cls = object

    def visit_Attribute(self, node):
        self.generic_visit(node)
        of = ast.unparse(node.value)
        if of in ("self", "super()"):
            self.add(self.cls, node.attr)
        elif of in CLASSES:
            self.add(CLASSES[of], node.attr)
        elif of == "wasyncore":
            self.found.add(("waitress.wasyncore", node.attr))
        elif node.attr in ANY_NAME and of not in OTHERS and not of.startswith("self._") and not of.endswith(")"):
            self.unknown.add(f"{of}.{node.attr}")


def uses():
    found, unknown = set(), set()
    for info in pkgutil.iter_modules(mountpoint.server.__path__):
        if info.name in PURE:
            continue
        module = importlib.import_module(f"mountpoint.server.{info.name}")
        visitor = Uses(module)
        visitor.visit(ast.parse(inspect.getsource(module)))
        found |= visitor.found
        unknown |= visitor.unknown
    return found, unknown


def test_every_attribute_with_a_name_of_waitress_has_a_known_owner():
    _, unknown = uses()
    assert unknown == set(), "add the expression to CLASSES or to OTHERS"


def test_the_list_has_every_name_that_the_code_uses():
    found, _ = uses()
    assert found - LISTED == set()


def test_the_list_has_no_name_that_the_code_does_not_use():
    found, _ = uses()
    assert LISTED - found == set()


def test_the_list_has_every_name_once_and_a_reason_for_it():
    names = [(entry.owner, name) for entry in waitress_names.DEPENDENCIES for name in entry.names]
    assert len(names) == len(set(names))
    assert all(entry.names and entry.reason for entry in waitress_names.DEPENDENCIES)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from waitress.task import hop_by_hop", ("waitress.task", "hop_by_hop")),
        ("wasyncore.loop()", ("waitress.wasyncore", "loop")),
        ("channel.will_close = True", ("waitress.channel.HTTPChannel", "will_close")),
        ("class Channel:\n    def handle_write(self): ...", ("waitress.channel.HTTPChannel", "handle_write")),
        ("class Channel:\n    sent_continue = True", ("waitress.channel.HTTPChannel", "sent_continue")),
        ("class Channel:\n    def f(self): self.outbufs", ("waitress.channel.HTTPChannel", "outbufs")),
        ("class Channel:\n    def f(self): super().send()", ("waitress.wasyncore.dispatcher", "send")),
    ],
)
def test_every_kind_of_use_is_found(source, found):
    visitor = Uses(channel)
    visitor.visit(ast.parse(source))
    assert found in visitor.found


def test_a_use_through_an_unknown_expression_is_found():
    visitor = Uses(channel)
    visitor.visit(ast.parse("strange.will_close = True"))
    assert visitor.unknown == {"strange.will_close"}
