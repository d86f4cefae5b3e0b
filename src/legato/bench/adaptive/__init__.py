"""What adaptive compute is worth: every strategy on questions whose answers are known.

`questions.py` holds the nouns and `question_files.py` reads them; `draw.py` lets an engine answer
each question many times, `replay.py` asks every strategy what it would have made of these samples,
`sharing.py` divides one budget among all questions.
"""
