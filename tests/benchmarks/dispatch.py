"""Time the dispatcher beside its peers, in one run. Prints tables, and draws dispatch.svg.

    python tests/benchmarks/dispatch.py             # under five minutes
    python tests/benchmarks/dispatch.py --quick     # under 20 seconds, noisier
    python tests/benchmarks/dispatch.py --turns 250 # only the realistic requests, on a busy machine

The benchmark measures one call, including a one-line app, with an environ as waitress builds it for a browser behind
nginx. Contenders take turns (A B C, A B C, ...), and the least time of each counts, because other programs disturbed it
least. Before every call, for every contender, the loop restores PATH_INFO and SCRIPT_NAME, which two of the peers
overwrite, and clears the mount in the request's record. The time of the loop itself is measured in the same turns and
subtracted. Each path is a new string, as in a server, so that no contender finds its hash computed already.

"As it is" is a peer as its users have it. "With a copy" is the same peer, called with a copy of environ. mountpoint and
cheroot copy environ themselves, to leave the caller's environ unchanged, so "with a copy" compares like with like.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from arena import AS_IT_IS, CONTENDERS, LIKE_FOR_LIKE, NAMES, OURS, WERKZEUG, Arena, Effort, app
from chart import Bar, Line, draw
from measure import duration, geometric_mean, no_garbage_collection, text_table, verdict, warn_if_busy
from tables import Table

from mountpoint import Dispatcher

HOSTILE_LENGTH = 260_000
PASSES = 4


# ----------------------------------------------------------------------------------------------------- realistic cells

PATHS = {
    "front page": "/",
    "page": "/stations",
    "static file": "/static/js/ws.js",
    "REST": "/api/v1/stations/42/readings/latest",
}


def keys(count: int, depth: int) -> list[str]:
    """Return *count* keys of *depth* segments, such as /app7, /a0/app7 or /a0/b0/app7, ten in a folder."""
    return ["/" + "/".join([*(f"{name}{i // 10}" for name in "abcd"[: depth - 1]), f"app{i}"]) for i in range(count)]


def nested_keys(count: int) -> list[str]:
    """Return *count* keys; every second one is below the one before: /app3, /app3/admin."""
    return [f"/app{i // 2}/admin" if i % 2 else f"/app{i // 2}" for i in range(count)]


@dataclass(frozen=True)
class Cell:
    mounts: int
    layout: str
    path: str
    kind: str
    seconds: Mapping[str, float]

    def ratio(self, to: str) -> float:
        return self.seconds[OURS] / self.seconds[to]


def realistic_cells(effort: Effort) -> list[Cell]:
    """Measure each cell in `PASSES` passes over all cells: a program that disturbs one pass disturbs no result."""
    part = Effort(max(effort.rounds // PASSES, 1), effort.patience / PASSES)
    pending: list[tuple[Arena, int, str, str, str]] = []
    for count in (1, 10, 100):
        layouts = {"depth 1": keys(count, 1), "depth 2": keys(count, 2), "nested": nested_keys(count)}
        if count == 1:
            del layouts["nested"]
        for layout, mounts in layouts.items():
            arena = Arena(mounts)
            owner = mounts[count // 2 + (layout == "nested" and count // 2 % 2 == 0)]
            for (kind, rest), hit in itertools.product(PATHS.items(), (True, False)):
                path = owner + rest if hit else rest
                pending.append((arena, count, layout, path, f"{kind}, {'hit' if hit else 'miss'}"))
    for _ in range(PASSES):
        cells = [Cell(*cell, arena.seconds(cell[2], part)) for arena, *cell in pending]
    return cells


def print_cells(cells: Sequence[Cell]) -> None:
    print("\nRealistic requests: nanoseconds a call\n")
    rows = [
        [str(cell.mounts), cell.layout, cell.kind, cell.path, *(f"{cell.seconds[name] * 1e9:.0f}" for name in NAMES)]
        for cell in cells
    ]
    print(text_table(["mounts", "", "", "path", *NAMES], rows, left=4))
    print()
    for peer in LIKE_FOR_LIKE:
        ratio = geometric_mean(cell.ratio(peer) for cell in cells)
        print(f"geometric mean against {peer}: {ratio:.3f}   {verdict(ratio, 1.0, strict=True)}")
    ratio = geometric_mean(cell.ratio(AS_IT_IS) for cell in cells)
    print(f"geometric mean against {AS_IT_IS}: {ratio:.3f}   {verdict(ratio, 1.3)}")
    ratio, cell = worst(cells)
    print(
        f"worst cell against the best of them, like for like: {ratio:.2f} ({cell.mounts} mounts, {cell.layout}, "
        f"{cell.path})   {verdict(ratio, 1.5)}"
    )


# ------------------------------------------------------------------------------------------- more mounts, deeper mounts

COUNTS = (1, 10, 100, 1_000, 10_000, 100_000)


def by_mounts(effort: Effort) -> tuple[dict[str, list[tuple[float, float]]], dict[str, float]]:
    """Print the time of a call as the table grows.

    Return the points of a hit, for the chart, and the ratio of 100,000 mounts to one, by the kind of request.
    """
    print("\nMore mounts: nanoseconds a call; hit: always the same path; cycling: random paths over all mounts\n")
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in (OURS, *LIKE_FOR_LIKE)}
    rows = []
    ours: dict[tuple[int, str], float] = {}
    contenders = [contender for contender in CONTENDERS if contender.name in points]
    # A peer that searches a large table makes one call a turn, so its least time would be that of a lucky path.
    constant = [contender for contender in contenders if contender.name in (OURS, f"{WERKZEUG}, with a copy")]
    for count in COUNTS:
        arena, cycling_arena = Arena(keys(count, 1), contenders), Arena(keys(count, 1), constant)
        hot = f"/app{count // 2}/api/v1/stations/42"

        def cycling(count: int = count) -> list[str]:
            return [f"/app{random.randrange(count)}/api/v1/stations/42" for _ in range(512)]

        for kind, paths in (("hit", hot), ("cycling", cycling), ("miss", "/nope/api/v1/stations/42")):
            seconds = (cycling_arena if kind == "cycling" else arena).seconds(paths, effort)
            ours[count, kind] = seconds[OURS]
            shown = (f"{seconds[name] * 1e9:,.0f}" if name in seconds else "not run" for name in points)
            rows.append([f"{count:,}", kind, *shown])
            if kind == "hit":
                for name, taken in seconds.items():
                    points[name].append((count, taken))
    print(text_table(["mounts", "", *points], rows, left=2))
    print()
    ratios = {kind: ours[COUNTS[-1], kind] / ours[1, kind] for kind in ("hit", "cycling", "miss")}
    for kind, ratio in ratios.items():
        print(f"{OURS}, 100,000 mounts against 1, {kind}: {ratio:.2f}   {verdict(ratio, 1.3)}")
    return points, ratios


def by_depth(effort: Effort) -> None:
    print("\nDeeper mounts: nanoseconds a call, 100 mounts, all at this depth; chain: a mount at every level\n")
    rows = []
    for depth in range(1, 6):
        deep = keys(100, depth)
        chains = ["/" + "/".join([f"app{i}", *"bcde"[:level]]) for i in range(100 // depth) for level in range(depth)]
        for kind, mounts, path in (
            ("hit", deep, deep[50] + "/stations"),
            ("chain", chains, chains[-1] + "/stations"),
            ("miss", deep, "/nope/api/v1/stations/42/readings/latest"),
        ):
            seconds = Arena(mounts).seconds(path, effort)
            rows.append([str(depth), kind, *(f"{seconds[name] * 1e9:,.0f}" for name in NAMES)])
    print(text_table(["depth", "", *NAMES], rows, left=2))


# ------------------------------------------------------------------------------------------------------- hostile paths


def by_length(effort: Effort, *, quick: bool) -> dict[str, list[tuple[float, float]]]:
    """Print the time of a call as a path of slashes grows; return the points, for the chart."""
    print("\nLonger paths, all slashes below a mount: time of a call, 10 mounts\n")
    names = [OURS, *LIKE_FOR_LIKE]
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    contenders = [contender for contender in CONTENDERS if contender.name in points]
    arena = Arena(keys(10, 1), contenders)
    rows = []
    for length in (10, 100, 1_000, 10_000, 65_000, HOSTILE_LENGTH):
        skipped = [f"{WERKZEUG}, with a copy"] if length > 10_000 and quick else []
        entrants = arena if not skipped else Arena(keys(10, 1), [one for one in contenders if one.name not in skipped])
        seconds = entrants.seconds("/app5".ljust(length, "/"), effort)
        for name, taken in seconds.items():
            points[name].append((length, taken))
        rows.append([f"{length:,}", *(duration(seconds[name]) if name in seconds else "not run" for name in names)])
    print(text_table(["bytes", *names], rows))
    return points


def shapes() -> dict[str, Callable[[int], str]]:
    """Return paths with which a client could attack, by name: each function takes the length of the path."""

    def of(unit: str, start: str = "/app5/", end: str = "") -> Callable[[int], str]:
        return lambda length: start + (unit * length)[: length - len(start) - len(end)] + end

    return {
        "slashes": of("/", "/"),
        "slashes below a mount": of("/"),
        "short segments": of("a/"),
        "dotted names": of(".a/"),
        "dots": of("..../"),
        "a dot segment at the end": of("a/", end="/.."),
        "one segment": of("a"),
        "one dotted segment": of("a."),
        "not ASCII": of("\xe9/"),
    }


def hostile(effort: Effort, *, quick: bool) -> None:
    print(f"\nHostile paths of {HOSTILE_LENGTH:,} bytes: time of a call, 10 mounts; werkzeug called once for each\n")
    mounts = keys(10, 1)
    ours = Arena(mounts, [one for one in CONTENDERS if one.name == OURS])
    theirs = Arena(mounts, [one for one in CONTENDERS if one.name == AS_IT_IS])
    once = Effort(1, 1)
    short = ours.seconds("/app5/////", effort)[OURS]
    rows = [["10 bytes", duration(short), "", "", duration(theirs.seconds("/app5/////", effort)[AS_IT_IS]), ""]]
    ratios = {}
    for name, shape in shapes().items():
        path = shape(HOSTILE_LENGTH)
        assert len(path) == HOSTILE_LENGTH
        taken = ours.seconds(path, effort)[OURS]
        scan, copy = (min(_timed(function) for _ in range(20)) for function in (lambda: "." in path, lambda: path[5:]))  # noqa: B023
        guess = "~" if quick else ""
        if quick:  # extrapolate from two shorter paths
            half, whole = (theirs.seconds(shape(length), once)[AS_IT_IS] for length in (10_000, 20_000))
            peer = whole * (HOSTILE_LENGTH / 20_000) ** max(1.0, math.log2(whole / half))
        else:
            peer = theirs.seconds(path, once)[AS_IT_IS]
        ratios[name] = peer / taken
        times = f"{guess}{peer / taken:,.{1 if peer < 100 * taken else 0}f}"
        rows.append([name, duration(taken), duration(scan), duration(copy), guess + duration(peer), times])
    header = ["path", OURS, "one scan of it", "one copy of it", AS_IT_IS, "times as much"]
    print(text_table(header, rows))
    print()
    least = ratios["slashes"]
    reached = "reached" if least >= 1000 else "MISSED"
    print(f"{AS_IT_IS} against {OURS}, {HOSTILE_LENGTH:,} slashes: {least:,.0f} times   goal >= 1,000: {reached}")


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def building() -> float:
    """Print and return the seconds in which a table of 100,000 mounts is built."""
    best = math.inf
    mounts = dict.fromkeys(keys(100_000, 2), app)
    for _ in range(3):
        with no_garbage_collection():
            best = min(best, _timed(lambda: Dispatcher(mounts, default=app)))
    # With garbage collection, as in a program: the collector scans the new objects many times.
    plain = min(_timed(lambda: Dispatcher(mounts, default=app)) for _ in range(3))
    print(f"\nA table of 100,000 mounts is built in {plain:.2f} s ({best:.2f} s without garbage collection)   ", end="")
    print(verdict(plain, 1.0, strict=True, digits=1))
    return plain


# ----------------------------------------------------------------------------------------------------------------- all


def measure(effort: Effort, *, quick: bool, svg: Path, extrapolates: bool = False) -> Table:
    """Print all figures, draw the chart into the file *svg*, and return the table for the manual.

    If *extrapolates*, werkzeug's times for hostile paths come from shorter ones, which saves a minute.
    """
    cells = realistic_cells(effort)
    print_cells(cells)
    mounts, ratios = by_mounts(effort)
    by_depth(effort)
    lengths = by_length(effort, quick=quick)
    hostile(effort, quick=quick or extrapolates)
    built = building()

    def mean(name: str) -> float:
        return geometric_mean(cell.seconds[name] for cell in cells)

    svg.write_text(
        draw(
            bars=[Bar(name, mean(name) * 1e9) for name in NAMES],
            mounts=[Line(name, points) for name, points in mounts.items()],
            lengths=[Line(name, points) for name, points in lengths.items()],
            note=f"CPython {sys.version.split()[0]}, {versions()}. Lower is better.",
        ),
        encoding="utf-8",
    )
    print(f"\ndrawn: {svg}")
    slashes, longest = lengths[OURS][-1][1], lengths[f"{WERKZEUG}, with a copy"][-1]
    rows = [
        [f"64 realistic requests, 1 to 100 mounts, geometric mean, against {name}", f"{mean(OURS) / mean(name):.2f}"]
        for name in NAMES
        if name != OURS
    ]
    return Table(
        ["One call of the dispatcher", "time"],
        [
            *rows,
            [
                "the request of the 64 with the worst ratio, against the fastest peer, with a copy",
                f"{worst(cells)[0]:.2f}",
            ],
            ["100,000 mounts against one, the same path each time", f"{ratios['hit']:.2f}"],
            ["100,000 mounts against one, a random path each time", f"{ratios['cycling']:.2f}"],
            [f"a path of {HOSTILE_LENGTH:,} slashes", duration(slashes)],
            [f"a path of {longest[0]:,} slashes, werkzeug", duration(longest[1])],
            ["building a table of 100,000 mounts", duration(built)],
        ],
    )


def worst(cells: Sequence[Cell]) -> tuple[float, Cell]:
    """Return the cell with the worst ratio to the best peer, like for like, and that ratio."""
    ratios = [(cell.seconds[OURS] / min(cell.seconds[peer] for peer in LIKE_FOR_LIKE), cell) for cell in cells]
    return max(ratios, key=lambda pair: pair[0])


def versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in (WERKZEUG, "Paste", "cheroot"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare mountpoint.Dispatcher with its peers.")
    parser.add_argument("--quick", action="store_true", help="under 20 seconds, noisier")
    parser.add_argument(
        "--svg", type=Path, default=Path(__file__).with_name("dispatch.svg"), help="the file of the chart"
    )
    parser.add_argument(
        "--turns", type=int, metavar="N", help="only the realistic requests, N turns each; for a busy machine"
    )
    options = parser.parse_args()
    effort = Effort(40, 0.02) if options.quick else Effort(400, 0.2)

    warn_if_busy()
    print(f"Python {sys.version.split()[0]}, {versions()}")
    if options.turns:
        print_cells(realistic_cells(Effort(options.turns, patience=10)))
        return
    measure(effort, quick=options.quick, svg=options.svg)


if __name__ == "__main__":
    main()
