"""How many samples a question deserves.

`samples.py` is what a rule sees, `decisions.py` what it may say; every strategy is a pure function
from the finished samples, in the order of their indices, to a decision. Because samples count in
that order, whatever ended first, a decision never depends on load or on how many ran side by side.
`answers.py` reads answers out of texts, `settings.py` turns a caller's words into a strategy,
`controller.py` drives one request of an engine. Nothing here knows the engine or HTTP.
"""
