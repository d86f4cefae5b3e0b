"""`legato bench replay FILE`: a server that plays scripted answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench_replay(
    file: Annotated[Path, typer.Argument(help="Scripts: JSON, or JSONL with one a line.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    parallel: Annotated[int, typer.Option(min=0, help="Answers at a time; 0: any number.")] = 0,
) -> None:
    """Be a server that plays scripts, to test clients with.

    Timings and misbehaviour as scripted, one script a request, until interrupted.
    """
    import asyncio

    from legato.bench.replay import ReplayServer
    from legato.bench.script import read_scripts

    scripts = read_scripts(file)

    async def serve() -> None:
        async with ReplayServer(scripts, host=host, port=port, parallel=parallel) as server:
            print(f"Replaying scripts ({len(scripts)}) on {server.url}", flush=True)
            await asyncio.Event().wait()

    asyncio.run(serve())
