"""What a policy expects, does, looks at and changes: sections of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.packages import new_figure
from ..data import ColumnarReplayBuffer
from ..evidence import feature_importance, plot_policy, plot_q
from .learning import JUDGED_ROWS, OURS, Learned
from .log import Part
from .page import (
    COLOURS,
    PICTURE,
    between,
    definitions,
    figures,
    paragraph,
    picture,
    short,
    table,
    text,
)
from .preparation import FLAG, NUMBER, Field, values_of
from .segments import segments

FloatArray = npt.NDArray[np.float64]

# Contexts that are shown: at these quantiles of the greedy action.
_QUANTILES = (0.125, 0.375, 0.625, 0.875)
_SEGMENTS, _BARS, _DESCRIBED = 20, 15, 12
# Near rows are held-out ones where 200 of them are the nearest 5 %.
_ENOUGH = 4000
_NEAR = "Squares are means of logged decisions in the contexts nearest to it"


class View:
    """The policy on the held-out part, section by section."""

    def __init__(self, learned: Learned):
        log = learned.log
        self._learned, self._policy, self._log = learned, learned.policy, log
        part = log.held_out.some(JUDGED_ROWS, log.spec.seed)
        # In the order of the comparison; a policy knows actions of its own log alone.
        self._part = self._known(part.rows(part.by_group))
        self._greedy = self._policy(self._part.observations)
        groups, start = [], 0
        for field in log.preparation.fields:
            groups.append(list(range(start, start + len(field.features))))
            start = groups[-1][-1] + 1
        self._groups = groups
        self._weights = feature_importance(
            self._policy.algo, self._part.dataset(), groups, log.spec.seed
        )
        self._options: dict[str, Any] = {
            "actions": self._policy.space.positions,
            "units": log.spec.act,
        }

    def _known(self, part: Part) -> Part:
        return dataclasses.replace(part, space=self._policy.space)

    @property
    def _fields(self) -> Sequence[Field]:
        return self._log.preparation.fields

    def values(self) -> str:
        held = self._log.held_out
        near, source = held, "held-out rows"
        if len(held) < _ENOUGH:
            near, source = self._log.training, "rows that it learned from"
        dataset = self._known(near.some(JUDGED_ROWS, self._log.spec.seed)).dataset()
        order = np.argsort(self._greedy, kind="stable")
        cards = []
        for quantile in _QUANTILES:
            row = int(order[int(quantile * len(order))])
            greedy = f"{self._log.spec.act} = {figures(self._greedy[row])}"
            figure = plot_q(
                self._policy.algo,
                self._part.observations[row : row + 1],
                dataset,
                titles=[""],
                **self._options,
            )
            figure.axes[0].set_ylabel("expected reward")
            alt = f"Expected reward by action in a context where it takes {greedy}"
            cards.append(
                f"<div><h3>{text(greedy)}</h3>{definitions(self._described(row))}"
                f"{picture(figure, alt, least=0.8)}</div>"
            )
        return (
            paragraph(
                "Four held-out contexts, from a low action of the policy to a high one. "
                f"{_NEAR}: {source}, with 95 % intervals and the number of rows.",
                "soft",
            )
            + f'<div class="cards">{"".join(cards)}</div>'
        )

    def _described(self, row: int) -> Iterator[tuple[str, str]]:
        """A context by its columns, as they were; of many those that count most."""
        kept = sorted(np.argsort(-self._weights, kind="stable")[:_DESCRIBED].tolist())
        for field in (self._fields[i] for i in kept):
            value = self._part.table[field.column][row].as_py()
            said = figures(value) if isinstance(value, float) else str(value)
            yield field.column, "missing" if value is None else said
        if others := len(self._fields) - len(kept):
            yield "others", f"{others}, which count less"

    def policy(self) -> str:
        numeric = [
            i
            for i in np.argsort(-self._weights, kind="stable").tolist()
            if self._fields[i].kind in (NUMBER, FLAG) and self._varies(self._fields[i])
        ][:2]
        if not numeric:
            return paragraph("No numeric column is observed that a map could be over.")
        fields = [self._fields[i] for i in numeric]
        names = [field.column for field in fields]
        algo, dataset = self._in_units()
        figure = plot_policy(
            algo,
            dataset,
            [self._groups[i][0] for i in numeric],
            names=[short(name) for name in names],
            **self._options,
        )
        figure.set_size_inches(PICTURE, 3.6)
        over = " and ".join(names)
        return picture(
            figure,
            f"The policy's action over {over}",
            f"The action over {over}, in their own units; all else is as in the held-out "
            "row nearest to the median.",
        )

    def _varies(self, field: Field) -> bool:
        values = values_of(self._part.table, field)
        return bool(np.ptp(values[~np.isnan(values)]) > 0.0)

    def _in_units(self) -> tuple[Any, ColumnarReplayBuffer]:
        """The algorithm and the part with numbers in their own units."""
        mean = np.zeros(len(self._log.preparation.features))
        std = np.ones_like(mean)
        for field, group in zip(self._fields, self._groups, strict=True):
            if field.kind in (NUMBER, FLAG):
                mean[group[0]], std[group[0]] = field.mean, field.std
        raw = (self._part.observations * std + mean).astype(np.float32)
        part = self._part.dataset().to_arrays()
        dataset = ColumnarReplayBuffer.from_arrays(raw, part["actions"], part["rewards"])
        return _InUnits(self._policy.algo, mean, std), dataset

    def importance(self) -> str:
        order = np.argsort(-self._weights, kind="stable")[:_BARS]
        figure = new_figure(PICTURE, 0.9 + 0.3 * len(order))
        panel = figure.subplots()
        heights = np.arange(len(order))[::-1]
        panel.barh(heights, self._weights[order], height=0.65, color=COLOURS[0])
        panel.set_yticks(heights, [short(self._fields[i].column) for i in order])
        panel.set_xlabel("reward lost per decision")
        panel.locator_params(axis="x", nbins=5)
        panel.grid(axis="x", alpha=0.25)
        panel.set_axisbelow(True)
        said = (
            "By how much the reward that it expects falls if it decides by the column of "
            "another decision."
        )
        return paragraph(said, "soft") + picture(figure, "Importance of each column")

    def changes(self) -> str:
        estimates = self._learned.comparison[OURS].ratio.numerators
        found = segments(self._part, tuple(self._fields), self._greedy, estimates)
        rows = [
            [
                one.name,
                f"{one.rows:,}",
                figures(one.logged),
                figures(one.chosen),
                figures(one.reward),
                between(one.gain, one.gain - one.half, one.gain + one.half),
            ]
            for one in found[:_SEGMENTS]
        ]
        act = self._log.spec.act
        head = ["decisions where", "rows", f"{act}, logged", f"{act}, policy"]
        said = (
            "Held-out decisions by one column at a time, the largest change of the mean "
            "action first. The gain is doubly robust, with a 95 % interval for each row "
            "alone: of twenty true zeros one looks like more by chance."
        )
        return paragraph(said, "soft") + table(
            [*head, "reward, logged", "gain, estimated"], rows
        )


class _InUnits:
    """An algorithm that is asked in units of the columns."""

    def __init__(self, algo: Any, mean: FloatArray, std: FloatArray):
        self._algo, self._mean, self._std = algo, mean, std

    def predict(self, x: Any) -> Any:
        return self._algo.predict(((x - self._mean) / self._std).astype(np.float32))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algo, name)
