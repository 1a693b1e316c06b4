"""Programs that prepare a guest from within, before any agent code: standard library only.

They enter the sandbox as a package of their own, so they import each other by relative names alone.
"""
