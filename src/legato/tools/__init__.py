"""Calling functions: how they are described to a model, and how its calls are read.

`function.py` says what may be offered and `parse.py` reads it from a request, `dialect.py` knows
how models of a family write calls, `prompt.py` serves models whose template knows no tools,
`grammar.py` prescribes calls, and `parser.py` reads them from text as it comes. Nothing here knows
the engine or HTTP.
"""
