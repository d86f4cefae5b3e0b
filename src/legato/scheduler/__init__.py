"""Which tokens of which sequences a step computes, and what becomes of the result."""
