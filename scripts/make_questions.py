"""Write the question sets whose numbers are drawn: arithmetic and word problems.

The sentences are the project's own; names, things and numbers come from a generator with a fixed
seed, so that the same command gives the same files.
"""

from __future__ import annotations

import json
import operator
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "src/legato/bench/data/questions"
SEED = 20

# fmt: off
NAMES = [
    "Tom", "Anna", "Ben", "Sara", "Leo", "Mia", "Omar", "Ella",
    "Noah", "Ruth", "Ivan", "Lucy", "Paul", "Nina", "Adam", "Kate",
]
THINGS = [
    "apples", "books", "pens", "marbles", "coins",
    "stamps", "cards", "shells", "buttons", "stickers",
]
# fmt: on

ARITHMETIC_EXAMPLES = """What is 12 plus 7? 12 + 7 = 19
What is 3 times 8? 3 * 8 = 24
What is 26 plus 5? 26 + 5 = 31
What is 6 times 7? 6 * 7 = 42
"""

WORD_EXAMPLES = """Question: Ben has 4 marbles and buys 9 more. How many marbles does Ben have now?
Answer: 4 + 9 = 13

Question: There are 5 bags with 3 oranges in each bag. How many oranges are there?
Answer: 5 * 3 = 15

Question: Kim has 7 coins and Max has 6 coins. How many coins do they have together?
Answer: 7 + 6 = 13

Question: One cup costs 6 dollars. How many dollars do 4 cups cost?
Answer: 6 * 4 = 24

Question: """

PRODUCTS = (
    "There are {a} boxes with {b} {things} in each box. How many {things} are there?",
    "One ticket costs {a} dollars. How many dollars do {b} tickets cost?",
    "{name} reads {a} pages every day. How many pages does {name} read in {b} days?",
    "A garden has {a} rows with {b} trees in each row. How many trees are in the garden?",
    "A hall has {a} tables with {b} chairs at each table. How many chairs are there?",
    "{name} buys {a} packs with {b} {things} in each pack. How many {things} does {name} buy?",
    "A bus makes {a} trips and carries {b} people on each trip. How many people does it carry?",
    "{name} earns {a} dollars an hour and works {b} hours. How many dollars does {name} earn?",
)
SUMS = (
    "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
    "{name} has {a} {things} and {other} has {b} {things}. "
    "How many {things} do they have together?",
    "{name} runs {a} miles on Monday and {b} miles on Tuesday. "
    "How many miles does {name} run in all?",
    "A farm has {a} cows and {b} sheep. How many animals does the farm have?",
    "There are {a} boys and {b} girls in a class. How many children are in the class?",
)

Question = dict[str, str]


def arithmetic(draw: random.Random) -> list[Question]:
    """Sums up to 70 and products of the table up to 12."""
    tens = [(a, b) for a in range(11, 60) for b in range(2, 10)]
    sums = [_sum(a, b) for a, b in draw.sample(tens, 60)]
    table = [(a, b) for a in range(2, 13) for b in range(2, 13)]
    products = [_product(a, b) for a, b in draw.sample(table, 60)]
    return _shuffled(draw, _new(ARITHMETIC_EXAMPLES, [*sums, *products]))


def _sum(a: int, b: int) -> Question:
    return {"question": f"What is {a} plus {b}?", "answer": str(a + b)}


def _product(a: int, b: int) -> Question:
    return {"question": f"What is {a} times {b}?", "answer": str(a * b)}


def word_problems(draw: random.Random) -> list[Question]:
    """One step each: products and sums of numbers from 2 to 9."""
    kinds = ((PRODUCTS, operator.mul), (SUMS, operator.add))
    questions = [
        _problem(draw, template, solve)
        for templates, solve in kinds
        for template in templates
        for _ in range(9)
    ]
    return _shuffled(draw, _new(WORD_EXAMPLES, questions))


def _problem(draw: random.Random, template: str, solve: Callable[[int, int], int]) -> Question:
    name, other = draw.sample(NAMES, 2)
    a, b = draw.randint(2, 9), draw.randint(2, 9)
    text = template.format(a=a, b=b, name=name, other=other, things=draw.choice(THINGS))
    return {"question": text, "answer": str(solve(a, b))}


def _new(examples: str, questions: Iterable[Question]) -> list[Question]:
    """Without repetitions, and without those that are among the examples."""
    unique = {question["question"]: question for question in questions}
    return [question for text, question in unique.items() if text not in examples]


def _shuffled(draw: random.Random, questions: list[Question]) -> list[Question]:
    draw.shuffle(questions)
    return questions


def sets() -> dict[str, str]:
    """File name → its text."""
    heads = {
        "arithmetic": {"prefix": ARITHMETIC_EXAMPLES},
        "word_problems": {"prefix": WORD_EXAMPLES, "suffix": "\nAnswer:"},
    }
    makers = {"arithmetic": arithmetic, "word_problems": word_problems}
    texts = {}
    for name, make in makers.items():
        head = {"set": name, "rule": "last_number", **heads[name], "max_tokens": 16}
        lines = [head, *make(random.Random(SEED))]
        texts[f"{name}.jsonl"] = "".join(json.dumps(line) + "\n" for line in lines)
    return texts


if __name__ == "__main__":
    for file, content in sets().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
        print(f"{file}: {content.count(chr(10)) - 1} questions", file=sys.stderr)
