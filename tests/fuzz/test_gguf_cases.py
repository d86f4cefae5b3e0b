"""Every kind of malformed GGUF file is refused with an error that names the field."""

from __future__ import annotations

import tracemalloc

import pytest
from gguf_bytes import (
    BOOL,
    ENTRIES,
    F32,
    FLOAT32,
    INT32,
    Q4_0,
    STRING,
    TENSORS,
    UINT32,
    UINT64,
    array,
    entry,
    gguf_file,
    string,
    tensor,
    u32,
    u64,
)

from legato.errors import ModelFormatError
from legato.models.formats.gguf import read_gguf

HUGE = (1 << 64) - 1


def keys(*extra: bytes) -> bytes:
    return gguf_file([*ENTRIES, *extra])


def tensors(*infos: bytes, **changes: int) -> bytes:
    return gguf_file(tensors=infos, **changes)


def alignment(type_id: int, value: object) -> bytes:
    return keys(entry("general.alignment", type_id, value))


HEADERS = {
    "empty": (b"", "empty"),
    "bad magic": (gguf_file(magic=b"GGML"), "magic"),
    "version 0": (gguf_file(version=0), "version"),
    "version 1": (gguf_file(version=1), "version"),
    "version 4": (gguf_file(version=4), "version"),
    "big-endian": (gguf_file(version=0x03000000), "version.*big-endian"),
    "keys 2^64-1": (gguf_file(num_keys=HUGE), "number of keys"),
    "keys 2^63": (gguf_file(num_keys=1 << 63), "number of keys"),
    "keys of the file's size": (gguf_file(num_keys=900), "number of keys"),
    "one key too many": (gguf_file(num_keys=len(ENTRIES) + 1), "name of tensor 0"),
    "tensors 2^64-1": (gguf_file(num_tensors=HUGE), "number of tensors"),
    "tensors 2^63": (gguf_file(num_tensors=1 << 63), "number of tensors"),
    "tensors of the file's size": (gguf_file(num_tensors=900), "number of tensors"),
    "one tensor too many": (gguf_file(num_tensors=3), "tensor 2"),
}
KEYS = {
    "key length 2^64-1": (keys(string(b"", HUGE)), "length of key 6"),
    "key length 2^63": (keys(string(b"", 1 << 63)), "length of key 6"),
    "key longer than the file": (keys(string(b"k", 100_000)), "length of key 6"),
    "key a little too long": (keys(string(b"k", 2000)), "key 6"),
    "empty key": (keys(entry("", UINT32, 1)), "key 6 is empty"),
    "key not UTF-8": (keys(entry(b"\xff\xfe", UINT32, 1)), "key 6 is not UTF-8"),
    "key twice": (keys(ENTRIES[1]), "'llama.block_count' is there twice"),
    "value type 13": (keys(entry("k", 13, None, u32(0))), "'k': value type 13"),
    "boolean 2": (keys(entry("k", BOOL, 2)), "'k': 2 is no boolean"),
    "string length 2^64-1": (keys(entry("k", STRING, None, u64(HUGE))), "length of 'k'"),
    "string length 2^40": (keys(entry("k", STRING, None, u64(1 << 40))), "length of 'k'"),
    "string not UTF-8": (keys(entry("k", STRING, b"\xc3(")), "'k' is not UTF-8"),
    "array length 2^64-1": (keys(array("k", UINT32, [], HUGE)), "length of 'k'"),
    "array length 2^40": (keys(array("k", FLOAT32, [], 1 << 40)), "length of 'k'"),
    "array beyond the file": (keys(array("k", FLOAT32, [1.0], 10_000)), "'k': the file ends"),
    "strings beyond the file": (keys(array("k", STRING, ["a"], 10_000)), "'k': the file ends"),
    "element length 2^64-1": (
        keys(entry("k", 9, None, u32(STRING) + u64(2) + u64(HUGE) + u64(0))),
        "'k': the file ends inside element",
    ),
    "last element beyond the file": (
        keys(entry("k", 9, None, u32(STRING) + u64(1) + u64(1 << 40))),
        "'k': the file ends inside element",
    ),
    "element not UTF-8": (keys(array("k", STRING, ["a", b"\xff"])), r"'k'\[1\] is not UTF-8"),
    "array of arrays": (keys(array("k", 9, [], 1)), "'k': arrays of value type 9"),
    "array of unknown type": (keys(array("k", 99, [], 1)), "'k': arrays of value type 99"),
    "booleans above 1": (keys(array("k", BOOL, [0, 7])), "'k': 7 is no boolean"),
    "alignment 0": (alignment(UINT32, 0), "general.alignment"),
    "alignment 13": (alignment(UINT32, 13), "general.alignment"),
    "alignment 2^31": (alignment(UINT32, 1 << 31), "general.alignment"),
    "alignment INT32": (alignment(INT32, 32), "general.alignment.*INT32"),
    "alignment UINT64": (alignment(UINT64, 32), "general.alignment.*UINT64"),
    "alignment a string": (alignment(STRING, "32"), "general.alignment.*STRING"),
}
SHAPES = {
    "no dimensions": (tensors(tensor("a", [], F32, 0)), "'a' has 0 dimensions"),
    "five dimensions": (tensors(tensor("a", [1] * 5, F32, 0)), "'a' has 5 dimensions"),
    "2^32-1 dimensions": (tensors(tensor("a", [1], F32, 0, 2**32 - 1)), "'a' has 4294967295"),
    "dimension 0": (tensors(tensor("a", [32, 0], F32, 0)), "'a' has dimensions"),
    "negative dimension": (tensors(tensor("a", [HUGE], F32, 0)), "'a' has dimensions"),
    "product overflow": (tensors(tensor("a", [1 << 40, 1 << 40], F32, 0)), "'a' ends at"),
    "product wraps to 0": (tensors(tensor("a", [1 << 32, 1 << 32], F32, 0)), "'a' ends at"),
    "bytes overflow": (tensors(tensor("a", [1 << 62, 8], Q4_0, 0)), "'a' ends at"),
    "row no multiple of the block": (tensors(tensor("a", [33], Q4_0, 0)), "'a': rows of 33"),
    "row below the block": (tensors(tensor("a", [16, 2], Q4_0, 0)), "'a': rows of 16"),
}
TENSOR_FIELDS = {
    "name twice": (tensors(TENSORS[0], TENSORS[0]), "'a' is there twice"),
    "empty name": (tensors(tensor("", [32], F32, 0)), "name of tensor 0 is empty"),
    "name not UTF-8": (tensors(tensor(b"\xff", [32], F32, 0)), "name of tensor 0 is not UTF-8"),
    "name length 2^63": (tensors(string(b"", 1 << 63)), "length of name of tensor 0"),
    "IQ4_XS": (tensors(tensor("a", [256], 23, 0)), "'a' has type IQ4_XS; supported: F32, F16"),
    "removed type": (tensors(tensor("a", [32], 4, 0)), "'a' has type 4, which does not exist"),
    "negative type": (tensors(tensor("a", [32], 2**32 - 1, 0)), "'a' has type 4294967295"),
    "offset unaligned": (tensors(tensor("a", [32], F32, 4)), "'a': offset 4 is not aligned"),
    "offset beyond the file": (tensors(tensor("a", [32], F32, 1 << 20)), "'a' ends at byte"),
    "offset overflow": (tensors(tensor("a", [32], F32, HUGE - 31)), "'a' ends at byte"),
    "overlap": (tensors(TENSORS[0], tensor("b", [8], F32, 224)), "'b' overlaps tensor 'a'"),
    "all on one range": (tensors(TENSORS[0], tensor("b", [32, 2], F32, 0)), "overlaps"),
    "data cut short": (gguf_file(data_bytes=256 + 67), "'b' ends at byte 324.*has 323"),
    "no data": (gguf_file(data_bytes=0), "'a' ends at byte 256.*has 0"),
}
CASES = HEADERS | KEYS | SHAPES | TENSOR_FIELDS


@pytest.mark.parametrize(("data", "message"), CASES.values(), ids=CASES.keys())
def test_malformed_file_is_refused_by_name_without_a_large_allocation(data, message, tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFormatError, match=message) as error:
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith("bad.gguf")
    assert str(tmp_path) not in str(error.value)


def test_the_file_that_the_cases_are_made_from_is_good(tmp_path):
    path = tmp_path / "good.gguf"
    path.write_bytes(gguf_file())
    file = read_gguf(path)
    assert file.metadata["tokenizer.ggml.tokens"] == ["<s>", "a", "é"]
    assert file.metadata["tokenizer.ggml.scores"] == [0.0, -1.0, -2.0]
    assert file.metadata["general.flag"] is True
    assert file.tensors["a"].shape == (2, 32)
    assert file.tensors["b"].nbytes == 68
    assert not file.tensors["a"].data.flags.writeable


@pytest.mark.parametrize("version", [2, 3])
def test_versions_2_and_3_are_read(version, tmp_path):
    path = tmp_path / "good.gguf"
    path.write_bytes(gguf_file(version=version))
    assert set(read_gguf(path).tensors) == {"a", "b"}


def test_another_alignment_is_honoured(tmp_path):
    path = tmp_path / "good.gguf"
    entries = [*ENTRIES, entry("general.alignment", UINT32, 256)]
    data = bytearray(gguf_file(entries, alignment=256))
    data[-352:-348] = b"\0\0\x80?"  # 1.0 at the start of the data section
    path.write_bytes(data)
    assert read_gguf(path).tensors["a"].data[:4].tobytes() == b"\0\0\x80?"


def test_a_million_keys_are_refused_at_once(tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(gguf_file(num_keys=1_000_000, data_bytes=20_000_000))
    with pytest.raises(ModelFormatError, match="number of keys"):
        read_gguf(path)


def test_a_missing_file_is_a_model_format_error(tmp_path):
    with pytest.raises(ModelFormatError, match="cannot be read"):
        read_gguf(tmp_path / "none.gguf")
