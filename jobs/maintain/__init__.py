"""Keeps the lake's tables healthy: files put together, old ones removed, and copies of the whole."""
