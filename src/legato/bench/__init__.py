"""Measuring: the engine in process, and any OpenAI-compatible endpoint over HTTP."""
