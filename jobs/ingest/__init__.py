"""Ways in: what puts records onto the raw topics."""
