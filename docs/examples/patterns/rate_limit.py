"""Say whether a caller may go on: at most ten times in any sixty seconds.

Input: {"caller": "ann"}
"""

import time

LIMIT = 10
WINDOW_SECONDS = 60


def run(input_dict, tools):
    allowed = False

    def admit(times):
        nonlocal allowed
        now = time.time()
        recent = [each for each in times if each > now - WINDOW_SECONDS]
        allowed = len(recent) < LIMIT
        return [*recent, now] if allowed else recent

    data_store.use_namespace("rates").update(input_dict["caller"], admit, default=[], ttl_seconds=WINDOW_SECONDS)
    return allowed
