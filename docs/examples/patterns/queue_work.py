"""Work through the queue until nothing is left in it; any number of runs may do so at the same time.

Input: {} or {"lease_seconds": 600}, which is longer than any job takes.
"""

MORE_THAN_WORKERS = 100


def run(input_dict, tools):
    jobs = data_store.use_namespace("jobs")
    lease_seconds = input_dict.get("lease_seconds", 60)
    finished = 0
    while True:
        changes = jobs.watch("todo:", timeout_seconds=lease_seconds)  # From before the look, so nothing is missed.
        names = [key.removeprefix("todo:") for key in jobs.list_keys("todo:", limit=MORE_THAN_WORKERS)]
        if not names:
            return {"finished": finished, "in_all": jobs.get("finished", 0)}
        if any(do(jobs, name, lease_seconds) for name in names):
            finished += 1
        else:
            next(changes, None)  # Others hold them all: until one is finished, or a lease has expired.


def do(jobs, name, lease_seconds):
    """Claim a job, work on it, and finish it; False where that is another run's."""
    todo, lease = f"todo:{name}", f"lease:{name}"
    try:
        claim = jobs.set(lease, True, ttl_seconds=lease_seconds, if_version=data_store.ABSENT)
    except data_store.Conflict:
        return False
    job = jobs.get(todo)  # None where another run finished it just before the claim.
    result = None if job is None else work(job)
    try:
        with jobs.atomic() as changes:
            changes.check(lease, claim).delete(lease)
            if job is not None:
                changes.delete(todo).set(f"done:{name}", result).incr("finished")
    except data_store.Conflict:
        return False  # The lease has expired.
    return job is not None


def work(job):
    return len(job.split())
