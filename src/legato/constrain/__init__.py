"""Output in a language that the caller chose: JSON schemas, regular expressions, grammars.

`form.py` says what may be asked for, `compiler.py` turns it into a `Constraint` of the engine
within a budget, `matcher.py` follows one sample through it. The grammars themselves are
llguidance's. Nothing here knows the engine or HTTP.
"""
