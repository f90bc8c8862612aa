"""Reports: what people read who have the permission, and programs whose API key has the scope."""
