"""Backups: what a catalogue can be made anew from, copied to another place and proven there."""
