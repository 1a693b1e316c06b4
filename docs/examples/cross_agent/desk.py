"""Do one desk's part of a ticket, once, as soon as it is handed to it; then hand it on.

Input: {"ticket": "T-1", "desk": "refunds", "next": "archive"}
"""

import re


def run(input_dict, tools):
    tickets = data_store.use_namespace("tickets")
    name, desk = input_dict["ticket"], input_dict["desk"]
    wait_until_at(tickets, name, desk)
    with tickets.lock(f"{desk}:{name}", wait_seconds=20):
        entry = tickets.get_entry(name)
        if entry.value["at"] == desk:  # Else another run of this desk has done it.
            hand_on(tickets, entry, desk, input_dict["next"])
    return tickets.get(name)["notes"]


def wait_until_at(tickets, name, desk):
    tickets.wait_for(name, timeout_seconds=20)
    while desk not in ((entry := tickets.get_entry(name)).value["at"], *entry.value["notes"]):
        if entry.value["at"] == "failed":
            raise RuntimeError(entry.value["error"])
        tickets.wait_for(name, timeout_seconds=20, after=entry.version)


def hand_on(tickets, entry, desk, to):
    ticket = entry.value
    try:
        order = re.search(r"order (\d+)", ticket["text"])[1]
        done = {**ticket, "at": to, "notes": {**ticket["notes"], desk: f"order {order}"}}
        tickets.set(entry.key, done, if_version=entry.version)
    except Exception as error:
        failed = {**ticket, "at": "failed", "error": f"{desk}: {type(error).__name__}: {error}"}
        tickets.set(entry.key, failed, if_version=entry.version)
        raise
