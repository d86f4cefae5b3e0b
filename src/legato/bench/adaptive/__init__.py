"""What adaptive compute is worth: every strategy on questions whose answers are known.

`questions.py` holds the nouns and `question_files.py` reads them; `asking.py` lets an engine answer
them, `replay.py` asks every strategy what it would have made of the samples, `sharing.py` divides
one budget among all questions. `run.py` is a whole comparison, `figures.py` and `document.py` hold
its numbers, `table.py` and `report.py` show them.
"""
