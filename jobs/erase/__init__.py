"""Erasing one person's payloads from bronze and quarantine."""
