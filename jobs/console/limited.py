"""What a user limited to suppliers may see of a table."""

import polars as pl

from jobs.console.users import User


def limited(rows: pl.LazyFrame, user: User) -> pl.LazyFrame:
    """The rows of the user's suppliers."""
    return rows if user.suppliers is None else rows.filter(pl.col("supplier_id").is_in(list(user.suppliers)))
