"""The web console: reads the lake without a JVM, writes one table of its own, serves pages and a JSON API."""
