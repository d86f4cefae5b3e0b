"""What a step costs: read from the op table, with rates measured on this machine."""
