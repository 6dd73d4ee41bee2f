"""Settings, routes, schedules and logging: read once, by the composition root in workers."""
