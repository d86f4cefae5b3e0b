"""Make the golden token ids and chat prompts in tests/text/goldens.

Needs an environment of its own with `transformers`, `tokenizers`, `torch` (which transformers'
GGUF reader asks for) and `gguf`:

    python scripts/make_tokenizer_goldens.py smollm2=PATH.gguf gemma=PATH.gguf

Without models only the tiny tokenizers are made. What transformers builds from a GGUF file is
not always the model's own tokenizer: for SmolLM2 it leaves out the cutting of single digits that
the original tokenizer.json has (and that ``tokenizer.ggml.pre`` = "smollm" stands for), so that
is put back here; llama.cpp then gives the same ids for every hard string. For Gemma llama.cpp
differs where more than 31 spaces follow each other and where U+2581 is in the text, because it
matches user-defined tokens before it merges; the goldens keep what transformers gives.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

GOLDENS = Path(__file__).resolve().parent.parent / "tests" / "text" / "goldens"

HARD_STRINGS = [
    "",
    " ",
    "  ",
    "   leading and trailing   ",
    "Hello, world!",
    "Hello  world   with    spaces",
    " " * 31 + "x",
    " " * 100,
    "a" + " " * 33 + "b",
    "\t",
    "\t\t\tx\t y",
    "\n",
    "\n\n\n",
    "a\n\nb\r\nc\r\rd\n \n\t\n",
    "\r\n",
    "def f(x):\n    if x > 0:\n\treturn x**2  # ²\n\n    return -x\n",
    '{"key": [1, 2.5, -3e10, null], "s": "a\\nb"}',
    "<table><tr><td>1</td></tr></table>",
    "1 12 123 1234 12345 1234567890 0.001 1,000,000 3.14159",
    "year2024month12 a1b22c333 x  1 y   22",
    "٠١٢٣ ४५६ ５６７ Ⅷ ½ ²³",
    "I'm you're they'll WE'VE I'D don't can't 'quoted' ''",
    "naïve café résumé Ångström",
    "e\u0301 n\u0303 a\u030a\u0323 Z\u0351\u036b\u0343",
    "Zażółć gęślą jaźń",
    "Привет, как дела?",
    "Γειά σου Κόσμε",
    "你好，世界！今天天气怎么样？",
    "こんにちは世界、カタカナとひらがな",
    "안녕하세요 세계",
    "مرحبا بالعالم ١٢٣",
    "שלום עולם",
    "\u202bשלום\u202c abc \u200f\u200e",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "🙂",
    "👨‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇩🇪🇫🇷",
    "🤷🏽‍♀️" * 5,
    "\u200b\u200d\ufeff\u00a0\u3000\u2028\u2029",
    "\x00",
    "a\x00b\x01\x02\x07\x08\x0b\x0c\x1b[31m\x7f\x80\x9f",
    "".join(map(chr, range(1, 33))),
    "\U00010348 \U0001d4d0 \U000e0041 \U0010fffd",
    "\ufffd \ufffe \ue000 \u0378",
    "a" * 300,
    "ab" * 300,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "supercalifragilisticexpialidocious" * 4,
    "!!!???...---===+++***///\\\\\\@@@###$$$%%%^^^&&&",
    "https://example.com/a/b?c=d&e=%20f#g user@example.org",
    "C++ C# F# .NET node.js x86_64 utf-8",
    "mixed русский 中文 عربي 🙂 english 123",
    "<|im_start|>user\nhi<|im_end|>\n",
    "text<|im_end|>text <|endoftext|> <|im_start|> more",
    "<start_of_turn>user\nhi<end_of_turn>\n<bos><eos><pad><unk>",
    "<s></s><unk> [INST] <<SYS>> <|eot_id|> <0x41> <0x0A>",
    "almost <|im_end| > <|im_ end|> <end_of_turn",
    "▁ ▁▁ a▁b Ġ Ċ Ġa",
    "ﬁ ﬂ ﷺ Ⅳ ㎏ Å",
    "\u1100\u1161\u11a8 각",
    "The quick brown fox jumps over the lazy dog. " * 3,
]

CONVERSATIONS = [
    [{"role": "user", "content": "Hi!"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2+2?"}],
    [
        {"role": "user", "content": "  spaces  "},
        {"role": "assistant", "content": "Line one\nline two\n"},
        {"role": "user", "content": "<|im_end|> <b>&amp;</b> 'quotes' \"double\" 🙂 中文"},
    ],
]

CORPUS = [*HARD_STRINGS, *(Path(__file__).read_text(encoding="utf-8").splitlines())]


def main(arguments: list[str]) -> None:
    """Write every golden that `arguments` (name=path) have the models for."""
    GOLDENS.mkdir(parents=True, exist_ok=True)
    save_tiny("tiny_byte_bpe", byte_bpe())
    save_tiny("tiny_sentencepiece", sentencepiece_like())
    for name, _, path in (argument.partition("=") for argument in arguments):
        save_model(name, Path(path))


def byte_bpe() -> Tokenizer:
    """A small byte-level BPE with GPT-2's pieces, control tokens and a user-defined one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=700,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False)])
    return tokenizer


def sentencepiece_like() -> Tokenizer:
    """A small BPE over U+2581 words with byte fallback and a prefixed space, like Llama 2's."""
    special = ["<unk>", "<s>", "</s>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainee = Tokenizer(models.BPE(unk_token="<unk>"))
    trainee.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, show_progress=False, limit_alphabet=90
    )
    trainee.train_from_iterator(
        [line for line in CORPUS if not set(line) & set("\n\t\r<>")], trainer
    )
    learned = json.loads(trainee.to_str())["model"]
    pieces = [p for p in learned["vocab"] if p not in special]
    merged = ["".join(pair) for pair in learned["merges"]]
    order = [*dict.fromkeys(merged), *(p for p in pieces if p not in set(merged))]
    vocab = {text: i for i, text in enumerate([*special, *byte_tokens, *order])}
    tokenizer = Tokenizer(
        models.BPE(vocab, every_merge(order), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A"], special_tokens=[("<s>", 1)]
    )
    return tokenizer


def every_merge(order: list[str]) -> list[tuple[str, str]]:
    """All ways to join two pieces of `order` into a third, in the order of the third."""
    known = set(order)
    return [
        (piece[:cut], piece[cut:])
        for piece in order
        for cut in range(len(piece) - 1, 0, -1)
        if piece[:cut] in known and piece[cut:] in known
    ]


def save_tiny(name: str, tokenizer: Tokenizer) -> None:
    """A folder with the tokenizer.json, and its golden ids beside it."""
    from transformers import PreTrainedTokenizerFast

    folder = GOLDENS / name
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(
        json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")),
        encoding="utf-8",
    )
    save(name, PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")))


def save_model(name: str, path: Path) -> None:
    """Golden ids of a GGUF model's tokenizer as transformers builds it, digits put right."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    if name == "smollm2":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    save(name, tokenizer)


def save(name: str, tokenizer: Any) -> None:  # noqa: ANN401 (one of transformers' many classes)
    """Write the ids of every hard string, and the prompt of every conversation."""
    golden: dict[str, Any] = {
        "ids": {text: tokenizer(text)["input_ids"] for text in HARD_STRINGS},
        "plain_ids": {
            text: tokenizer(text, add_special_tokens=False)["input_ids"] for text in HARD_STRINGS
        },
        "untrusted_ids": untrusted_ids(tokenizer.backend_tokenizer),
    }
    if tokenizer.chat_template:
        golden["chats"] = [
            {
                "messages": messages,
                "add_generation_prompt": generates,
                "prompt": tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=generates
                ),
            }
            for messages in CONVERSATIONS
            for generates in (True, False)
        ]
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":"))
    (GOLDENS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def untrusted_ids(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Ids of the hard strings with special tokens' texts read as ordinary text."""
    tokenizer.encode_special_tokens = True
    ids = {t: tokenizer.encode(t, add_special_tokens=False).ids for t in HARD_STRINGS}
    tokenizer.encode_special_tokens = False
    return ids


if __name__ == "__main__":
    main(sys.argv[1:])
