"""One StructType a table or message; every column carries its meaning and unit as a comment."""
