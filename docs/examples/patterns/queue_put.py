"""Put jobs into the queue, each once, however often it is put.

Input: {"jobs": {"a.txt": "Tea and milk."}}
"""


def run(input_dict, tools):
    jobs = data_store.use_namespace("jobs")
    return {"put": sum(put(jobs, name, job) for name, job in input_dict["jobs"].items())}


def put(jobs, name, job):
    try:
        with jobs.atomic() as changes:
            changes.check(f"done:{name}", data_store.ABSENT)
            changes.add(f"todo:{name}", job)
    except data_store.Conflict:
        return False  # It waits already, or is finished.
    return True
