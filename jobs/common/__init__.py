"""What every program shares: settings, session, tables, Kafka, logging."""
