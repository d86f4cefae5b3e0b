"""`legato serve`: the OpenAI-compatible server."""

from __future__ import annotations

from legato.cli.arguments import DEFAULT, ModelOption, expand_dataclasses
from legato.config import EngineConfig
from legato.server.settings import ServerSettings


@expand_dataclasses
def serve(settings: ServerSettings, config: EngineConfig, model: ModelOption = DEFAULT) -> None:
    """Serve a model over HTTP until interrupted."""
    from legato.cli.progress import resolve_with_progress
    from legato.server.run import serve as run_server

    run_server(resolve_with_progress(model), config, settings)
