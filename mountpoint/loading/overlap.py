"""The state from before a load, also if loads overlap: one begins during another, and ends after it.

Such a load has read the state in the middle of the other load, and must not restore that.
"""

from __future__ import annotations

from typing import Generic, TypeVar

S = TypeVar("S")


class BegunLoad(Generic[S]):
    """A load, with the *state* that it found, and the load *around* it, which began before it and had not ended."""

    def __init__(self, state: S, around: BegunLoad[S] | None) -> None:
        self.state = state
        self.around = around
        self.has_ended = False


class Overlap(Generic[S]):
    """Remembers one kind of state for the loads that run now."""

    def __init__(self) -> None:
        self._running: list[BegunLoad[S]] = []

    def begin(self, state: S) -> BegunLoad[S]:
        """Record that a load begins, and that it has found *state*."""
        load = BegunLoad(state, self._running[-1] if self._running else None)
        self._running.append(load)
        return load

    def end(self, load: BegunLoad[S]) -> list[S]:
        """Return the states that were found by *load* and by the loads around it that have ended, earliest first.

        The first of them is the state to restore.
        """
        load.has_ended = True
        self._running.remove(load)
        states = [load.state]
        while load.around and load.around.has_ended:
            load = load.around
            states.insert(0, load.state)
        return states
