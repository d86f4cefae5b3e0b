"""Paged keys and values: blocks with reference counts, shared prefixes, sliding windows."""
