"""Do parts of a job, as one of any number of workers.

Input: {"job": "7"}
"""


def run(input_dict, tools):
    job = data_store.use_namespace(f"job:{input_dict['job']}")
    plan = job.wait_for("plan", timeout_seconds=20)
    if "error" in plan:
        raise RuntimeError(plan["error"])
    mine = 0
    for wait_seconds in (0, 20):  # First what is free; then what others hold, in case they die.
        for number in range(plan["parts"]):
            if not job.exists(f"done:{number}"):
                mine += work_on(job, number, wait_seconds)
    return {"done": mine}


def work_on(job, number, wait_seconds):
    try:
        with job.lock(f"part:{number}", ttl_seconds=5, wait_seconds=wait_seconds):
            if job.exists(f"done:{number}"):
                return False
            return job.add(f"done:{number}", outcome(job, number))
    except data_store.LockUnavailable:
        return False


def outcome(job, number):
    try:
        return {"words": len(job.get(f"part:{number}").split())}
    except Exception as error:
        job.add(f"done:{number}", {"error": f"work: {type(error).__name__}: {error}"})
        raise
