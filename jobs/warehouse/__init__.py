"""Feeding warehouses and catalogs: ClickHouse, a close as files, Glue, Unity Catalog, Hive; without a JVM."""
