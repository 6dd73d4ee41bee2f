"""``make demo``: the whole of strongroom at work on documents that are made on the spot. Reads top down: story.py."""
