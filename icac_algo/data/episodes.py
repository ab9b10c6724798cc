"""Which rows of flat columns belong to which episode, and which begin a transition."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Successors(NamedTuple):
    """Where B transitions lead to, ``n`` steps on, each ``(B,)``."""

    rows: Rows  # of the successors; the row itself where terminal
    terminal: Flags  # whether the episode terminates on the way
    interval: Rows  # steps taken, at most n


class BadMark(ValueError):
    """A row is marked as it must not be: by which mark, why, and where."""

    def __init__(self, mark: str, reason: str, row: int):
        super().__init__(f"{mark} {reason}: row {row}")
        self.mark, self.reason, self.row = mark, reason, row


class EpisodeIndex:
    """Episodes as consecutive rows.

    An episode of T steps takes T rows, and one more if what was observed after its last
    step is known.  Its last row begins no transition if the episode was cut off there:
    d3rlpy's convention, in which that row only serves as the successor of the one before.

    ``ends`` is the row after each episode's last, rising, ``(E,)``; ``None`` if each of
    ``rows`` is an episode of its own that terminates, which needs no memory.
    """

    def __init__(
        self,
        ends: Rows | None,
        terminated: Flags | None = None,
        has_final: Flags | None = None,
        rows: int = 0,
    ):
        self.rows = rows
        self._ends = ends
        if ends is None:
            return
        assert terminated is not None
        if len(ends) == ends[-1:].sum() and terminated.all():
            self.rows, self._ends = len(ends), None
            return
        self._terminated = terminated
        self._has_final = (
            np.zeros(len(ends), dtype=bool) if has_final is None else has_final
        )
        self.rows = int(ends[-1]) if len(ends) else 0
        # Every transition's row, without a row number for each: rows that begin none,
        # lowered by how many came before.
        barren = (ends - 1)[~terminated | self._has_final]
        self._lowered = barren - np.arange(len(barren))

    @classmethod
    def from_marks(
        cls, rows: int, terminal: Rows, timeout: Rows, final: Rows, ends: Rows | None
    ) -> EpisodeIndex:
        """From the rows of last steps, of cut-off last steps and of final observations.

        ``ends`` is as in the constructor; if it is unknown, an episode ends after a
        terminal or a timeout, or after the final row that follows.  Raises ``BadMark`` if
        marks contradict each other or the ends.
        """
        both = terminal[_within(terminal, timeout)]
        if both.size:
            raise BadMark("terminal", "and timeout must not both be set", int(both[0]))
        done = np.sort(np.concatenate([terminal, timeout]), kind="stable")
        if ends is None:
            ends = done + 1 + _within(done + 1, final)
            if not ends.size or ends[-1] != rows:
                ends = np.append(ends, rows)
        for mark, marked in (("terminal", terminal), ("timeout", timeout)):
            last = _within(marked + 1, ends)
            last |= _within(marked + 1, final) & _within(marked + 2, ends)
            if not last.all():
                reason = "must be set only on an episode's last step"
                raise BadMark(mark, reason, int(marked[~last][0]))
        follows = _within(final + 1, ends) & ~_within(final, done) & (final > 0)
        follows &= ~_within(final, ends)
        if not follows.all():
            reason = "must be set only on the row after an episode's last step"
            raise BadMark("final", reason, int(final[~follows][0]))
        has_final = _within(ends - 1, final)
        return cls(ends, _within(ends - 1 - has_final, terminal), has_final)

    @property
    def is_bandit(self) -> bool:
        """Whether every row is an episode of its own that terminates."""
        return self._ends is None

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return self.rows if self._ends is None else len(self._ends)

    @property
    def transitions(self) -> int:
        """Number of transitions."""
        return self.rows - (0 if self._ends is None else len(self._lowered))

    @property
    def terminals(self) -> int:
        """Number of episodes that terminated."""
        return self.rows if self._ends is None else int(self._terminated.sum())

    def arrays(self) -> tuple[Rows, Flags, Flags]:
        """``ends``, ``terminated`` and ``has_final``, all explicit."""
        if self._ends is None:
            terminated = np.ones(self.rows, dtype=bool)
            return np.arange(1, self.rows + 1), terminated, ~terminated
        return self._ends, self._terminated, self._has_final

    def marks(self) -> dict[str, Flags]:
        """Which rows are ``terminal``, ``timeout`` and ``final``, each ``(R,)``."""
        ends, terminated, has_final = self.arrays()
        last_step = ends - 1 - has_final
        marked = {
            "terminal": last_step[terminated],
            "timeout": last_step[~terminated],
            "final": (ends - 1)[has_final],
        }
        marks = {name: np.zeros(self.rows, dtype=bool) for name in marked}
        for name, rows in marked.items():
            marks[name][rows] = True
        return marks

    def decisions(self, rows: Rows | None = None) -> Rows:
        """The rows, of some or of all, that are not final observations, ``(N,)``."""
        rows = np.arange(self.rows) if rows is None else rows
        if self._ends is None:
            return rows
        return rows[~_within(rows, (self._ends - 1)[self._has_final])]

    def blocks(self, most: int) -> Iterator[Rows]:
        """Rows of whole episodes, about as many in each block, and at most about so."""
        first, ends, count = 0, self._ends, -(-self.rows // most)
        for mark in np.linspace(0, self.rows, count + 1).astype(np.int64)[1:-1]:
            cut = mark if ends is None else ends[np.searchsorted(ends, mark)]
            # Beside an episode as long as a block nothing small is left over.
            if min(cut - first, self.rows - cut) > most // 4:
                yield np.arange(first, cut)
                first = cut
        yield np.arange(first, self.rows)

    def episode(self, number: int) -> tuple[int, int, bool, bool]:
        """First row, row after the last, ``terminated`` and ``has_final`` of one."""
        if self._ends is None:
            return number, number + 1, True, False
        start = int(self._ends[number - 1]) if number else 0
        flags = bool(self._terminated[number]), bool(self._has_final[number])
        return start, int(self._ends[number]), *flags

    def episode_of(self, rows: Any) -> Any:
        """The episodes that rows belong to."""
        if self._ends is None:
            return rows
        return np.searchsorted(self._ends, rows, side="right")

    def rows_of(self, transitions: Rows) -> Rows:
        """The row that begins each transition, ``(B,)``."""
        if self._ends is None:
            return transitions
        before = np.searchsorted(self._lowered, transitions, side="right")
        return np.asarray(transitions + before)

    def successors(self, rows: Rows, n_steps: int = 1) -> Successors:
        """Where the transitions that begin at ``rows`` lead to."""
        if self._ends is None:
            ones = np.ones(len(rows), dtype=np.int64)
            return Successors(rows, ones.astype(bool), ones)
        episode = self.episode_of(rows)
        ends, terminated = self._ends[episode], self._terminated[episode]
        # Past the last step of a terminated episode lies its terminal state; a cut-off
        # one is left at its last row.
        stop = np.where(terminated, ends - self._has_final[episode], ends - 1)
        if (rows >= stop).any():
            raise IndexError("a row after an episode's last transition was asked for")
        successor = np.minimum(rows + n_steps, stop)
        terminal = terminated & (successor == stop)
        return Successors(np.where(terminal, rows, successor), terminal, successor - rows)


def _within(values: Rows, rising: Rows) -> Flags:
    """Which values, none of them negative, are among others that rise."""
    return np.asarray(np.append(rising, -1)[np.searchsorted(rising, values)] == values)
