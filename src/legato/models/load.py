"""From a path to a `Model`: every weight named, shaped and accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from legato.errors import ModelFormatError
from legato.models.arch import ArchConfig
from legato.models.family import Family, translate
from legato.models.fields import Fields
from legato.models.formats.gguf import read_gguf
from legato.models.formats.safetensors import read_safetensors_folder
from legato.models.formats.strict_json import read_object
from legato.models.model import Model
from legato.models.names import expected_weights
from legato.models.registry import gguf_family, hf_family
from legato.tensor import Tensor
from legato.text.source import GGUFVocabulary, TokenizerFolder

VECTOR_FORMATS = "norms and biases must be F32, F16 or BF16"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def load_model(path: Path) -> Model:
    """Load a ``.gguf`` file or a folder with config.json and safetensors.

    Weights stay in the file (a memory map) until they are used.

    Raises:
        ModelFormatError: nothing is there, it is damaged or unsupported, or a tensor is missing,
            left over, or of a wrong shape or type.
    """
    if not path.exists():
        raise ModelFormatError(f"there is no model at {path}")
    if path.is_dir():
        return _load_folder(path)
    if path.suffix == ".safetensors":
        raise ModelFormatError(f"{path.name}: give the folder that it is in, with its config.json")
    if path.suffix in PICKLES:
        raise ModelFormatError(f"{path.name} is a pickle, which can run code and is never loaded")
    return _load_gguf(path)


def _load_folder(folder: Path) -> Model:
    config = read_object(folder / "config.json")
    if "auto_map" in config:
        raise ModelFormatError(
            "config.json has auto_map: the model brings its own Python code, which is never run"
        )
    fields = Fields(config)
    family = hf_family(fields.text("model_type"))
    arch = family.from_config(fields)
    tensors = read_safetensors_folder(folder)
    weights = _name_weights(tensors, family, family.hf_names, arch)
    return Model(folder.resolve().name, folder, arch, weights, TokenizerFolder(folder))


def _load_gguf(path: Path) -> Model:
    file = read_gguf(path)
    name = Fields(file.metadata).text("general.architecture")
    family = gguf_family(name)
    arch = family.from_gguf(Fields(file.metadata, f"{name}."), file.tensors)
    vocabulary = {k: v for k, v in file.metadata.items() if k.startswith("tokenizer.")}
    _check_vocabulary(vocabulary.get("tokenizer.ggml.tokens"), arch.vocab_size)
    weights = _name_weights(file.tensors, family, family.gguf_names, arch)
    return Model(path.stem, path, arch, weights, GGUFVocabulary(vocabulary))


def _check_vocabulary(tokens: object, rows: int) -> None:
    """More rows than tokens are padding; more tokens than rows would index beyond the matrix."""
    if isinstance(tokens, list) and len(tokens) > rows:
        raise ModelFormatError(
            f"tokenizer.ggml.tokens has {len(tokens)} entries, "
            f"but 'token_embd.weight' only {rows} rows"
        )


def _name_weights(
    tensors: Mapping[str, Tensor], family: Family, names: Mapping[str, str], arch: ArchConfig
) -> dict[str, Tensor]:
    """Tensors under canonical names, in order of use; all that `arch` needs and no others."""
    expected = expected_weights(arch)
    found: dict[str, Tensor] = {}
    leftover = []
    for name, tensor in tensors.items():
        canonical = translate(name, names)
        if canonical in expected and canonical not in found:
            found[canonical] = tensor
        elif not family.ignores(name) and not (arch.tied_head and canonical == "head.weight"):
            leftover.append(name)
    if missing := [name for name in expected if name not in found]:
        raise ModelFormatError(f"missing tensors: {_list(missing)}; is the model complete?")
    if leftover:
        raise ModelFormatError(
            f"tensors that a {arch.family} model does not use: {_list(leftover)}"
        )
    return {name: _checked(found[name], name, shape) for name, shape in expected.items()}


def _checked(tensor: Tensor, name: str, shape: tuple[int, ...]) -> Tensor:
    if tensor.shape != shape:
        raise ModelFormatError(f"tensor {tensor.name!r} has shape {tensor.shape}, not {shape}")
    if len(shape) == 1 and tensor.format.block != 1:
        raise ModelFormatError(f"tensor {tensor.name!r} is {tensor.format.name}: {VECTOR_FORMATS}")
    return replace(tensor, name=name)


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
