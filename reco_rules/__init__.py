"""The rules: pure functions on Columns and DataFrames, the same in the stream and in the close."""
