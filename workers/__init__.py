"""The Celery app, the composition root, the supervisor and the command line."""
