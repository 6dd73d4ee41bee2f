"""One file a migration; the names say the order."""
