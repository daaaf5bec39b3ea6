"""Tests of the streaming job: real broker, real tables, the oracle's word for every record."""
