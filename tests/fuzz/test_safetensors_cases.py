"""Every kind of malformed safetensors file is refused with an error that names the field."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from safetensors_bytes import DATA_BYTES, HEADER, changed, safetensors_file

from legato.dequantize import dequantize
from legato.errors import ModelFormatError
from legato.models.formats.safetensors import read_safetensors
from legato.tensor import WeightFormat

ENTRY = HEADER["a"]
TEN_ON_ONE_RANGE = {f"t{i}": {**ENTRY, "data_offsets": [0, 16]} for i in range(10)}
DUPLICATE = (
    b'{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},'
    b'"a":{"dtype":"F16","shape":[12],"data_offsets":[0,24]}}'
)
CASES = {
    "empty": (b"", "empty"),
    "seven bytes": (b"\0" * 7, "header's length"),
    "length 0": (safetensors_file(b"", length=0), "begin with"),
    "length 2^63": (safetensors_file(length=1 << 63), "header length"),
    "length 2^64-1": (safetensors_file(length=(1 << 64) - 1), "header length"),
    "length over the limit": (safetensors_file(b" " * 5_000_000), "header length"),
    "length one beyond the file": (
        safetensors_file(b"{}", length=3, data_bytes=0),
        "header length is 3",
    ),
    "not UTF-8": (safetensors_file(b'{"\xff": 1}'), "not UTF-8"),
    "not JSON": (safetensors_file(b'{"a": '), "not valid JSON"),
    "trailing text": (safetensors_file(b"{} {}"), "not valid JSON"),
    "an array": (safetensors_file(b"[]"), "begin with"),
    "leading space": (safetensors_file(b" {}"), "begin with"),
    "NaN": (safetensors_file(b'{"a": NaN}'), "NaN"),
    "nested 10^5 deep": (safetensors_file(b'{"a":' * 100_000), "nested too deeply"),
    "arrays 10^5 deep": (safetensors_file(b'{"a":' + b"[" * 100_000), "nested too deeply"),
    "number with 10^5 digits": (safetensors_file(b'{"a":' + b"9" * 100_000 + b"}"), "JSON"),
    "duplicate key": (safetensors_file(DUPLICATE), "'a' is there twice"),
    "duplicate field": (
        safetensors_file(b'{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}'),
        "'dtype' is there twice",
    ),
    "metadata of numbers": (safetensors_file({**HEADER, "__metadata__": {"a": 1}}), "__metadata__"),
    "metadata a list": (safetensors_file({**HEADER, "__metadata__": []}), "__metadata__"),
    "entry a number": (safetensors_file({**HEADER, "a": 1}), "tensor 'a' must have"),
    "entry without shape": (
        safetensors_file({**HEADER, "a": {"dtype": "F32", "data_offsets": [0, 16]}}),
        "tensor 'a' must have",
    ),
    "unknown field": (changed("a", scale=1), "tensor 'a' must have"),
    "dtype F64": (changed("a", dtype="F64"), "'a' has dtype 'F64'; supported: F32, F16, BF16"),
    "dtype a list": (changed("a", dtype=[]), "'a' has dtype"),
    "shape a string": (changed("a", shape="22"), "'a': shape"),
    "scalar": (changed("a", shape=[]), "'a': shape"),
    "nine dimensions": (changed("a", shape=[1] * 9), "'a': shape"),
    "dimension 0": (changed("a", shape=[0, 4]), "'a': shape"),
    "negative dimensions": (changed("a", shape=[-2, -2]), "'a': shape"),
    "dimension a float": (changed("a", shape=[2.0, 2]), "'a': shape"),
    "dimension true": (changed("a", shape=[True, 4]), "'a': shape"),
    "product overflow": (changed("a", shape=[2, (1 << 64) - 2]), "'a': shape"),
    "product wraps": (changed("a", shape=[4194305, 4194305, 211106198978564]), "'a'.*takes"),
    "bytes wrap": (changed("a", shape=[1 << 62, 4]), "'a'.*takes"),
    "size differs": (changed("a", shape=[2, 3]), r"'a': \(2, 3\) F32 takes 24 bytes, not 16"),
    "one offset": (changed("a", data_offsets=[0]), "'a': data_offsets"),
    "offsets floats": (changed("a", data_offsets=[0.0, 16.0]), "'a': data_offsets"),
    "offsets reversed": (changed("a", data_offsets=[16, 0]), "'a': data_offsets"),
    "offsets negative": (changed("a", data_offsets=[-16, 0]), "'a': data_offsets"),
    "offsets 2^64": (changed("a", data_offsets=[1 << 64, (1 << 64) + 16]), "hole"),
    "overlap": (changed("b", data_offsets=[12, 20]), "'b' overlaps"),
    "ten tensors on one range": (safetensors_file(TEN_ON_ONE_RANGE), "overlaps"),
    "hole": (changed("b", data_offsets=[18, 26]), "'b' follows a hole"),
    "hole at the start": (safetensors_file({"b": HEADER["b"]}), "'b' follows a hole"),
    "data cut short": (safetensors_file(data_bytes=DATA_BYTES - 1), "take 24 bytes.*has 23"),
    "data left over": (safetensors_file(data_bytes=DATA_BYTES + 1), "take 24 bytes.*has 25"),
}


@pytest.mark.parametrize(("data", "message"), CASES.values(), ids=CASES.keys())
def test_malformed_file_is_refused_by_name(data, message, tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match=message) as error:
        read_safetensors(path)
    assert str(tmp_path) not in str(error.value)


def test_the_file_that_the_cases_are_made_from_is_good(tmp_path):
    path = tmp_path / "good.safetensors"
    path.write_bytes(safetensors_file())
    tensors = read_safetensors(path)
    assert tensors["a"].shape == (2, 2)
    assert tensors["b"].format is WeightFormat.BF16
    assert not tensors["b"].data.flags.writeable


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_files_of_the_safetensors_package_are_read_exactly(dtype, tmp_path):
    path = tmp_path / "good.safetensors"
    rng = np.random.default_rng(1)
    arrays = {f"w{i}": rng.normal(size=(3, i + 1)).astype(dtype) for i in range(5)}
    safetensors.numpy.save_file(arrays, path)
    tensors = read_safetensors(path)
    assert tensors.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(dequantize(tensors[name]), values.astype(np.float32))


def test_what_we_accept_the_safetensors_package_accepts_too(tmp_path):
    rng = random.Random(3)
    path = tmp_path / "mutated.safetensors"
    accepted = 0
    for _ in range(2000):
        path.write_bytes(mutated(rng))
        try:
            names = read_safetensors(path).keys()
        except ModelFormatError:
            continue
        accepted += 1
        with safetensors.safe_open(path, "numpy") as file:
            assert set(file.keys()) == set(names)
    assert 0 < accepted < 2000


def mutated(rng: random.Random) -> bytes:
    """The good file with some bytes of length and header changed, in ways that often parse."""
    data = bytearray(safetensors_file())
    end = len(data) - DATA_BYTES
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(end)] = rng.choice(b'0123456789abF"[]{},: \xff\x00')
    return bytes(data)


def test_truncation_at_every_byte_is_refused(tmp_path):
    path = tmp_path / "cut.safetensors"
    good = safetensors_file()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(ModelFormatError):
            read_safetensors(path)


def test_structure_mutations_never_escape(tmp_path):
    rng = random.Random(5)
    path = tmp_path / "mutated.safetensors"
    values = [None, -1, 0, 1, 2, 4, 16, 1 << 63, 1 << 64, 1e30, True, "F32", "F16", [], {}, [0, 16]]
    for _ in range(1000):
        header = json.loads(json.dumps(HEADER))
        target = header[rng.choice("ab")]
        field = rng.choice(["dtype", "shape", "data_offsets"])
        if field != "dtype" and rng.random() < 0.7:
            target[field][rng.randrange(len(target[field]))] = rng.choice(values)
        else:
            target[field] = rng.choice(values)
        path.write_bytes(safetensors_file(header))
        try:
            read_safetensors(path)
        except ModelFormatError:
            continue
