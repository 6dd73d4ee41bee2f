"""Erasure on purpose: what is to be gone for good is gone from everything that this folder holds, and proven to be."""
