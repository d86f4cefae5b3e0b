"""Readers of model files. They know bytes, names and types, and nothing of architectures."""
