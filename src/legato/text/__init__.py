"""Between text and token ids: tokenizers, chat templates, streams of text."""
