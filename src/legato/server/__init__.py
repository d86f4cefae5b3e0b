"""An OpenAI-compatible HTTP server over a token stream. It does not know the engine."""
