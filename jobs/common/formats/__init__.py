"""Suppliers' payload formats: what a file may say, and the Columns that it becomes."""
