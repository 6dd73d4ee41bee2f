"""SQLModel tables, the one engine, queries and migrations."""
