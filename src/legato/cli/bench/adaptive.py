"""`legato bench adaptive`: what strategies of adaptive compute are worth."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses
from legato.cli.bench.files import HtmlOption, JsonOption, write_files
from legato.config import EngineConfig

if TYPE_CHECKING:
    from legato.bench.adaptive.asking import Asked
    from legato.bench.adaptive.document import Document, Plan
    from legato.bench.adaptive.questions import QuestionSet

WIDTH = 140  # of what is written into a file


SetsOption = Annotated[
    list[str] | None, typer.Option("--set", help="Only these question sets; several values.")
]
FileOption = Annotated[
    Path | None, typer.Option(help="Own question sets (JSONL, see docs/adaptive.md) instead.")
]
QuestionsOption = Annotated[
    int | None, typer.Option(min=1, help="Most questions, of all sets in turn.")
]
SamplesOption = Annotated[int, typer.Option(min=2, max=128, help="Of a question.")]
TemperatureOption = Annotated[float, typer.Option(min=0.01, help="Of the samples.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the samples.")]
SelfEvaluationOption = Annotated[
    bool, typer.Option("--self-evaluation", help="Also ask the model about every sample (slow).")
]
LiveOption = Annotated[
    bool, typer.Option(help="Also run strategies through the engine, to time them.")
]
PriceOption = Annotated[float | None, typer.Option(min=0.0, help="Of this machine; adds costs.")]


@expand_dataclasses
def bench_adaptive(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    set_name: SetsOption = None,
    file: FileOption = None,
    questions: QuestionsOption = None,
    max_samples: SamplesOption = 16,
    temperature: TemperatureOption = 0.6,
    seed: SeedOption = 1,
    self_evaluation: SelfEvaluationOption = False,
    live: LiveOption = True,
    price_per_hour: PriceOption = None,
    json_file: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Compare the strategies of adaptive compute on known answers.

    All samples of each question are drawn once; strategies are compared on the same samples. The
    last line of output is one JSON document. Ctrl-C gives a report of what there is.
    """
    from legato.bench.adaptive.document import Plan
    from legato.bench.adaptive.report import render_report
    from legato.bench.adaptive.run import select_questions

    plan = Plan(
        max_samples=max_samples,
        self_evaluation=self_evaluation,
        live=live,
        price_per_hour=price_per_hour,
    )
    asked = select_questions(_question_sets(file, set_name), questions)
    document = _compare(model, config, asked, plan, temperature, seed)
    print_document(document)
    write_files(document, json_file, html, lambda: render_report(document))
    print(json.dumps(document))


def _question_sets(file: Path | None, names: Sequence[str] | None) -> Sequence[QuestionSet]:
    from legato.bench.adaptive.question_files import NAMES, built_in_sets, read_sets

    if file is not None and names:
        raise typer.BadParameter("give --set or --file, not both")
    return read_sets(file) if file is not None else built_in_sets(names or NAMES)


def _compare(
    model: str,
    config: EngineConfig,
    asked: Sequence[Asked],
    plan: Plan,
    temperature: float,
    seed: int,
) -> Document:
    """The document of a comparison, with all that it was made with."""
    from legato.assemble import assemble
    from legato.bench.adaptive.asking import Asker
    from legato.bench.adaptive.run import compare_strategies
    from legato.cli.progress import resolve_with_progress
    from legato.clock import RealClock

    clock = RealClock()
    parts = assemble(resolve_with_progress(model), config, clock)
    with (
        closing(parts.engine),
        shown_progress() as (on_start, on_done),
        interruptible() as stopped,
    ):
        asker = Asker(parts, clock, temperature=temperature, seed=seed, stopped=stopped)
        document = compare_strategies(asker, asked, plan, on_start, on_done)
    made_with = {"model": parts.model.name, "temperature": temperature, "seed": seed}
    return {**document, **made_with, "config": asdict(config)}


@contextmanager
def shown_progress() -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """A bar on standard error: what to call with its length, and at each step of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    text = TextColumn("{task.description}")
    console = Console(stderr=True)
    with Progress(
        text, BarColumn(), MofNCompleteColumn(), Remaining(), console=console, transient=True
    ) as bars:
        task = bars.add_task("questions", total=None)
        yield lambda total: bars.update(task, total=total), lambda: bars.advance(task)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed, to be asked between steps; the second time it interrupts."""
    pressed: list[int] = []

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def print_document(document: Document) -> None:
    """The tables and notes."""
    from rich.console import Console

    from legato.bench.adaptive import table

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    _print_table(console, table.columns(document), table.rows(document))
    if len(document["strategies"][0]["by_set"]) > 1:
        _print_table(console, table.set_columns(document), table.set_rows(document))
    _print_table(console, table.CALIBRATION_COLUMNS, table.calibration_rows(document))
    for note in table.notes(document):
        console.print(note, highlight=False)


def _print_table(console: Any, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:  # noqa: ANN401 - rich is imported when used
    from rich.table import Table

    shown = Table(*heads)
    for line in lines:
        shown.add_row(*line)
    console.print(shown)
