"""Every operator's action, once: over an open store, without a word printed.

Looks go past the agents' verbs, straight to the engine, so that none is counted as a read. Writes go through the
store's own guards as agent `@admin/OSUSER`, save the entries of an archive, which come back as they were.
"""
