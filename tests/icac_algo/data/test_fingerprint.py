"""Equal logs have equal fingerprints, however they are kept; any change is seen."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
from d3rlpy.dataset import ReplayBuffer

from icac_algo import ColumnarReplayBuffer
from icac_algo.data import columns as kept
from icac_algo.data import fingerprint


def arrays(rows: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    place = np.arange(rows) % 5
    return {
        "observations": rng.random((rows, 3)),
        "actions": rng.integers(4, size=rows),
        "rewards": rng.random(rows).astype(np.float32),
        "terminals": (place == 3) & (np.arange(rows) % 2 == 1),
        "timeouts": (place == 3) & (np.arange(rows) % 2 == 0),
        "final": place == 4,
        "extras": {"propensity": np.full(rows, 0.25)},
    }


def plain() -> dict[str, Any]:
    """What a stock buffer can hold."""
    found = arrays()
    found["terminals"] = found.pop("final")
    del found["extras"], found["timeouts"]
    return found


CHANGES: dict[str, Any] = {
    "observations": lambda a: a["observations"].__setitem__((7, 1), 0.5),
    "actions": lambda a: a["actions"].__setitem__(9, (a["actions"][9] + 1) % 4),
    "rewards": lambda a: a["rewards"].__setitem__(39, 2.0),
    "how an episode ends": lambda a: a.update(
        terminals=a["timeouts"], timeouts=a["terminals"]
    ),
    "what is a final row": lambda a: a.update(
        final=None, terminals=a["final"], timeouts=None
    ),
    "an extra": lambda a: a["extras"]["propensity"].__setitem__(3, 0.75),
    "a name": lambda a: a.update(extras={"chance": a["extras"]["propensity"]}),
    "one more": lambda a: a["extras"].update(more=np.zeros(40)),
    "actions allowed": lambda a: a.update(action_size=9),
    "kind of action": lambda a: a.update(actions=a["actions"].astype(float)),
    "shape": lambda a: a.update(observations=a["observations"][:, :, None]),
    "tuple": lambda a: a.update(observations=[a["observations"]]),
    "order": lambda a: a.update(observations=a["observations"][::-1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(change: str) -> None:
    before = fingerprint(ColumnarReplayBuffer.from_arrays(**arrays()))
    changed = arrays()
    CHANGES[change](changed)
    assert fingerprint(ColumnarReplayBuffer.from_arrays(**changed)) != before


def test_a_stock_buffer_has_that_of_its_columns() -> None:
    ours = ColumnarReplayBuffer.from_arrays(**plain())
    stock = ours.to_replay_buffer()
    assert isinstance(stock, ReplayBuffer)
    back = ColumnarReplayBuffer.from_replay_buffer(stock)
    assert fingerprint(stock) == fingerprint(back) == fingerprint(ours)


def test_types_of_numbers_and_pieces_do_not_matter(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ColumnarReplayBuffer.from_arrays(**arrays())
    expected = fingerprint(whole)
    other = arrays()
    other["actions"] = other["actions"].astype(np.int8)
    other["observations"] = other["observations"].astype(np.float32)
    monkeypatch.setattr(kept, "BLOCK", 7)
    assert fingerprint(ColumnarReplayBuffer.from_arrays(**other)) == expected
    for name in ("log.parquet", "log.arrow"):
        options = whole.to_parquet(tmp_path / name)
        mapped = ColumnarReplayBuffer.from_parquet(
            tmp_path / name, cache_folder=tmp_path, show_progress=False, **options
        )
        assert fingerprint(mapped) == expected


def test_appended_episodes_change_it_also_open_ones() -> None:
    log, whole = arrays(), ColumnarReplayBuffer.from_arrays(**plain())
    seen = [fingerprint(whole)]
    for reward in (0.25, 0.5):
        whole.append(log["observations"][0], 1, reward)
        whole.append(log["observations"][1], 1, reward)
        seen.append(fingerprint(whole))
        whole.clip_episode(True)
        seen.append(fingerprint(whole))
    assert len(set(seen)) == len(seen)
    assert fingerprint(whole) == fingerprint(whole.to_replay_buffer())


def test_columns_that_are_shared_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = ColumnarReplayBuffer.from_arrays(**arrays())
    first = fingerprint(log)
    other = log.replace(rewards=np.zeros(40))
    monkeypatch.setattr(type(log.columns.actions), "blocks", None)
    assert fingerprint(log) == first
    with pytest.raises(TypeError):
        fingerprint(other)
    monkeypatch.undo()
    assert fingerprint(other) != first
    assert fingerprint(other.replace(rewards=log.to_arrays()["rewards"])) == first


def test_it_is_of_replay_buffers_only() -> None:
    with pytest.raises(TypeError, match="dataset"):
        fingerprint("bids/mine-v0")  # type: ignore[arg-type]
