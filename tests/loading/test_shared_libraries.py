"""Libraries with one state for the process: check names the two apps that set up the same one."""

import json

import pytest
from prometheus_client import GC_COLLECTOR, REGISTRY
from support.tables import APP, command, config_of, imports_undone, write

from mountpoint.loading.loader import Loader

# Sentry's SDK imports both if they are installed, which takes seconds.
WITHOUT = "import sys\nsys.modules['django'] = sys.modules['eventlet'] = None\n"
SENTRY = """
import sentry_sdk
sentry_sdk.init("http://key@127.0.0.1:9/{number}", default_integrations=False, auto_enabling_integrations=False)
"""
PROVIDERS = """
from opentelemetry import metrics, trace
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk._logs import LoggerProvider
import opentelemetry._logs
trace.set_tracer_provider(TracerProvider())
set_meter_provider(MeterProvider())
opentelemetry._logs.set_logger_provider(LoggerProvider())
"""
TABLE = '[mounts]\n"/a" = "a/one.py:app"\n"/b" = "b/two.py:app"\n'
REMEDY = 'serve one of the two from a process of its own: write process = "own"'


def test_check_names_the_second_sentry_client_and_the_second_providers(tmp_path):
    files = {
        "a/first.py": WITHOUT + SENTRY.format(number=1) + PROVIDERS + APP,
        "b/second.py": SENTRY.format(number=2) + PROVIDERS + APP,
        "c/same.py": "import sentry_sdk, opentelemetry.trace\nopentelemetry.trace.get_tracer('x')\n" + APP,
        "d/without.py": "import sentry_sdk\nsentry_sdk.init()\n" + APP,
    }
    table = """
        [mounts]
        "/a" = "a/first.py:app"
        "/again" = "a/first.py:app"
        "/b" = "b/second.py:app"
        "/c" = "c/same.py:app"
        "/d" = "d/without.py:app"
    """
    result = command("check", "--json", cwd=write(tmp_path, {"mounts.toml": table, **files}))
    report = json.loads(result.stdout)
    assert (report["problems"], {warning["key"] for warning in report["warnings"]}) == ([], {'mounts."/b"'})
    sentry, *providers = [warning["message"] for warning in report["warnings"]]
    assert sentry.startswith("its load has called sentry_sdk.init after the load of /a;")
    for message, name in zip(providers, ["TracerProvider", "MeterProvider", "LoggerProvider"], strict=True):
        assert message.startswith(f"its load has set a second {name} of OpenTelemetry; a process keeps only the first")
        assert "which /a has set," in message
    assert all(message.endswith(REMEDY) for message in (sentry, *providers))


# ---------------------------------------------------------------------------------------------------------- Prometheus


@pytest.fixture
def load(tmp_path):
    """Load the mounts of a table again and again: ``load({"a/one.py": "..."})``."""
    loader = Loader()
    known = {*REGISTRY._collector_to_names}

    def load(files, toml=TABLE, before=()):
        write(tmp_path, {name: f"{text}\n{APP}" for name, text in files.items()})
        return list(loader.load(config_of(tmp_path, toml), before))

    with imports_undone(tmp_path):
        yield load
    for collector in {*REGISTRY._collector_to_names} - known:
        REGISTRY.unregister(collector)


NEWLINE = "\n"  # a formatted string cannot hold it
COUNTER = "from prometheus_client import Counter\nCounter('shop_orders', 'Orders')"


SECOND = {
    "equal": (COUNTER, "shop_orders"),
    "of another kind": (COUNTER.replace("Counter", "Gauge"), "shop_orders"),
    "by its suffix": ("import prometheus_client as p\np.Gauge('shop_orders_total', '')\n", "shop_orders_total"),
    "in a handler": (f"try:\n    1 / 0\nexcept Exception:\n    {COUNTER.replace(NEWLINE, '; ')}\n", "shop_orders"),
    "in a factory": (f"def make():\n    {COUNTER.replace(NEWLINE, '; ')}\n    return app\n", "shop_orders"),
}


@pytest.mark.parametrize("second", SECOND)
def test_a_metric_of_a_sibling_is_named_with_its_mount(load, second):
    source, named = SECOND[second]
    toml = TABLE.replace("two.py:app", "two.py:make()") if "make" in source else TABLE
    one, two = load({"a/one.py": COUNTER, "b/two.py": source}, toml)
    assert one.error is None
    assert str(two.error).startswith(
        f"prometheus_client has one registry for the process, and the load of /a has registered {named} there before"
    )
    assert str(two.error).endswith(REMEDY)


def test_a_metric_that_one_app_registers_twice_keeps_its_traceback(load):
    one, _ = load({"a/one.py": COUNTER + "\nCounter('shop_orders', 'x')\n", "b/two.py": ""})
    assert "Duplicated timeseries" in str(one.error)
    assert "one.py" in one.error.details


def test_an_app_that_failed_after_its_metrics_loads_when_it_is_repaired(load):
    files = {"a/one.py": COUNTER + "\nimport helper_of_one\n", "a/helper_of_one.py": "1 / 0\n", "b/two.py": ""}
    before = load(files)
    assert "ZeroDivisionError" in str(before[0].error)
    after = load(files | {"a/helper_of_one.py": "fixed = True\n"}, before=before)
    assert [mount.error for mount in after] == [None, None]


def test_metrics_of_an_installed_module_stay_after_a_failed_load(load, tmp_path):
    write(tmp_path, {"site-packages/installed_metrics.py": COUNTER})
    site = f"import sys\nsys.path.append({str(tmp_path / 'site-packages')!r})\n"
    load({"a/one.py": f"{site}import installed_metrics\n1 / 0\n", "b/two.py": ""})
    assert GC_COLLECTOR in REGISTRY._collector_to_names
    assert "shop_orders" in REGISTRY._names_to_collectors


def test_a_registry_of_its_own_is_not_a_conflict(load):
    own = "import prometheus_client as p\np.Counter('shop_orders', '', registry=p.CollectorRegistry())"
    assert [mount.error for mount in load({"a/one.py": own, "b/two.py": own})] == [None, None]
