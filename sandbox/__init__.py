"""The agents' door: what runs untrusted code, and what such code sees of the store."""
