"""Rule 1: both sides know the activity."""

from pyspark.sql import Column


def missing_supplier(agoda_version: Column, supplier_version: Column) -> Column:
    """True where AGODA has a version and SUPPLIER has none; never null."""
    return agoda_version.isNotNull() & supplier_version.isNull()


def missing_agoda(agoda_version: Column, supplier_version: Column) -> Column:
    """True where SUPPLIER has a version and AGODA has none; never null."""
    return agoda_version.isNull() & supplier_version.isNotNull()
