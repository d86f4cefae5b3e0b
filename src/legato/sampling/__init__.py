"""How a token is chosen from logits: the definition that every backend follows."""
