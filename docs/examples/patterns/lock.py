"""Publish the next edition of a report, which one run at a time may write.

Input: {"title": "Sales"}
"""


def run(input_dict, tools):
    reports = data_store.use_namespace("reports")
    title = input_dict["title"]
    with reports.lock(title, wait_seconds=60) as lease:
        last = reports.get(title, {"edition": 0})
        report = write(last["edition"] + 1)
        with reports.atomic(lease=lease) as changes:
            changes.set(title, report)
    return report["edition"]


def write(edition):
    return {"edition": edition, "text": f"Edition {edition}."}  # In place of long work, with tools.
