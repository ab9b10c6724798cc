"""A saved model with one thing changed: refused by one kind of error, or the same."""

from __future__ import annotations

import json
import pathlib
import struct
from typing import Any

import numpy as np
import pytest
from d3rlpy.models import VectorEncoderFactory
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import ConstraintAwareQConfig, KnownCost, MonotoneConcave
from icac_algo.export import ArtefactError, load, save
from tests.icac_algo.export.forging import seal

from .profile import FUZZ, attempt

X = np.random.default_rng(0).random((20, 2)).astype(np.float32)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["convex", "concave", 3000, [3_000_000], [1] * 10_000, {}, [], 1e300]
    ),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[pathlib.Path, Any]:
    config = ConstraintAwareQConfig(
        constraint=MonotoneConcave(known_cost=KnownCost(1)),
        critic_encoder_factory=VectorEncoderFactory([8]),
    )
    algo = config.create(device="cpu:0")
    algo.create_impl((2,), 5)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(algo, path)
    return path, algo


def check(changed: bytes, model: tuple[pathlib.Path, Any]) -> None:
    path, algo = model
    beside = path.with_name("changed.safetensors")
    beside.write_bytes(changed)
    found, refusal = attempt(lambda: load(beside), ArtefactError)
    if refusal is not None:
        assert "changed.safetensors" in refusal
        return
    assert np.array_equal(found.predict(X), algo.predict(X))
    actions = algo.predict(X)
    assert np.array_equal(found.predict_value(X, actions), algo.predict_value(X, actions))


@FUZZ
@given(data=st.data())
def test_bytes(model: tuple[pathlib.Path, Any], data: st.DataObject) -> None:
    content = bytearray(model[0].read_bytes())
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "zeros", "header length"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "cut":
        del content[place:]
    elif kind == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
    elif kind == "zeros":
        content[place : place + 16] = bytes(len(content[place : place + 16]))
    else:
        content[:8] = struct.pack("<Q", data.draw(st.integers(0, 2**64 - 1)))
    check(bytes(content), model)


@FUZZ
@given(data=st.data())
def test_descriptions(model: tuple[pathlib.Path, Any], data: st.DataObject) -> None:
    content = model[0].read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    text = header["__metadata__"]["icac_algo"]
    description = json.loads(text[64:])
    _change(description, data)
    header["__metadata__"]["icac_algo"] = text[:64] + json.dumps(description)
    edited = json.dumps(header, separators=(",", ":")).encode()
    changed = struct.pack("<Q", len(edited)) + edited + content[8 + size :]
    check(changed, model)
    # Under a checksum of its own it may be another model, or is refused likewise.
    sealed = model[0].with_name("sealed.safetensors")
    sealed.write_bytes(seal(changed))
    attempt(lambda: load(sealed), ArtefactError)


def _change(part: Any, data: st.DataObject) -> None:
    """Changes, drops or adds one thing somewhere in nested objects and lists."""
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))
    if not keys or data.draw(st.integers(0, 5)) == 0:
        if isinstance(part, dict):
            part[data.draw(st.text(max_size=5))] = data.draw(VALUES)
        else:
            part.append(data.draw(VALUES))
        return
    key = data.draw(st.sampled_from(keys))
    if isinstance(part[key], (dict, list)) and data.draw(st.integers(0, 4)):
        _change(part[key], data)
    elif data.draw(st.booleans()):
        del part[key]
    else:
        part[key] = data.draw(VALUES)
