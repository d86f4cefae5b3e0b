"""Downloads as a progress bar on stderr, so that stdout stays the command's own."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class ProgressBar:
    """A `models.fetch.Progress` for people; shown only once something has to be fetched."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._bars.stop()

    def notice(self, text: str) -> None:
        """Show a line that the user must see."""
        self._console.print(text)

    def start(self, label: str, total_bytes: int) -> None:
        """A file of `total_bytes` begins."""
        self._bars.start()  # only now: nothing to fetch, nothing to show
        self._task = self._bars.add_task(label, total=total_bytes or None)

    def advance(self, num_bytes: int) -> None:
        """`num_bytes` more have arrived."""
        if self._task is not None:
            self._bars.advance(self._task, num_bytes)


def resolve_with_progress(name_or_path: str) -> Path:
    """`hub.resolve_model`, with a bar where something has to be fetched."""
    from legato.models.hub import resolve_model

    with ProgressBar() as bar:
        return resolve_model(name_or_path, bar)
