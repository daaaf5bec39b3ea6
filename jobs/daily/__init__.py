"""The daily close: facts, anomalies, exceptions, and their replay and explanation."""
