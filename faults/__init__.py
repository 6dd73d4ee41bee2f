"""What happens when everything fails at once: faults injected into a real service, and what is left afterwards.

See docs/explanation/faults.md.
"""
