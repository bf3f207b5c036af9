"""Memory of a mount, for tables of 1,000 and of 100,000 mounts.

    python tests/benchmarks/memory.py

Each figure is from a process of its own. It has the bytes that Python has allocated and not freed, counted by
`tracemalloc`, once a table with many mounts stands beside a table with one mount. All mounts have the same app, so the
memory of the app does not count. A *table* is a `Dispatcher`, made of keys such as /a12/app123. A *file* is a
``mounts.toml`` with the same keys and a limit for each mount, loaded as ``serve`` loads it: with its configuration,
which a reload needs, and the limits of the queues.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from measure import text_table

#: How many mounts. A file of 100,000 mounts takes minutes to load under `tracemalloc`.
SIZES = {"table": (1_000, 100_000), "file": (1_000,)}


def allocated() -> int:
    """Return the bytes that Python has allocated since `tracemalloc` started, and not freed."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def keys(count: int) -> list[str]:
    return [f"/a{number // 10}/app{number}" for number in range(count)]


def app(environ: object, start_response: object) -> list[bytes]:
    return []


def of_a_table(count: int) -> object:
    from mountpoint import Dispatcher

    return Dispatcher(dict.fromkeys(keys(count), app))


def of_a_file(count: int) -> object:
    from mountpoint.config.reader import load_config
    from mountpoint.loading.loader import load_mounts
    from mountpoint.loading.routing import build_router, build_table
    from mountpoint.server.mount_queues import queue_limits

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "memory_app.py").write_text("def app(environ, start_response):\n    return []\n")
        lines = [f'"{key}" = {{ app = "memory_app:app", limit = 4 }}' for key in keys(count)]
        (Path(folder) / "mounts.toml").write_text("\n".join(["[mounts]", *lines]))
        config = load_config(Path(folder) / "mounts.toml")
        mounts = load_mounts(config)
        return config, mounts, build_router(config, build_table(mounts)), queue_limits(config, mounts)


KINDS: dict[str, Callable[[int], object]] = {"table": of_a_table, "file": of_a_file}


def measured(kind: str, count: int) -> int:
    """Return the bytes that *count* mounts occupy in a new process, beyond those of one mount."""
    command = [sys.executable, __file__, "--child", kind, str(count)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(kind: str, count: int) -> None:
    tracemalloc.start()
    one = KINDS[kind](1)  # imports all modules
    before = allocated()
    many = KINDS[kind](count)
    print(allocated() - before)
    del one, many


def measure() -> dict[tuple[str, int], int]:
    """Return the bytes of all mounts, by the kind and the number of mounts."""
    return {(kind, count): measured(kind, count) for kind, counts in SIZES.items() for count in counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return
    rows = []
    for (kind, count), occupied in measure().items():
        rows.append([kind, f"{count:,}", f"{occupied / 1e6:.1f} MB", f"{occupied / count:,.0f} bytes"])
    print(text_table(["", "mounts", "in all", "for each mount"], rows))


if __name__ == "__main__":
    main()
