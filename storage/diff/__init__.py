"""The structured difference of two documents: sections added, removed, moved and changed. Pure functions."""
