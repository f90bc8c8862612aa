"""Security events: one registry, one writer, one table, one log line each."""
