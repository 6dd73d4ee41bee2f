"""Celery tasks, thin: parse the message, call the engine, return the receipt."""
