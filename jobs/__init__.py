"""Programs of the project and what they share."""
