"""The engine: segments, codecs, documents, the tree, integrity."""
