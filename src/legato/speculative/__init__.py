"""Speculative decoding: guess the next tokens, verify them in one step, lose nothing."""
