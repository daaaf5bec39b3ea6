"""The poller of suppliers' APIs: for suppliers that do not send to Kafka themselves."""
