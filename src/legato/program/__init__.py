"""A model as a flat list of ops over named buffers, and everything that reads that list."""
