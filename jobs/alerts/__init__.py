"""Alerts: what is broken becomes a few messages that say what is wrong and what it costs."""
