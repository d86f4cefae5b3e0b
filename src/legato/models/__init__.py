"""From a file or folder to an `ArchConfig`, named tensors and tokenizer data."""
