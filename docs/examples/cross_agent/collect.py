"""Put together what the workers of a job found, as it comes; the first error ends it.

Input: {"job": "7"}
"""


def run(input_dict, tools):
    job = data_store.use_namespace(f"job:{input_dict['job']}")
    plan = job.wait_for("plan", timeout_seconds=20)
    if "error" in plan:
        raise RuntimeError(plan["error"])
    found, arriving = {}, keys_as_they_come(job, "done:")
    while len(found) < plan["parts"]:
        key = next(arriving, None)
        if key is None:
            raise TimeoutError(f"{len(found)} of {plan['parts']} parts are done, and no more came for 20 seconds")
        found[key] = job.get(key)
        if "error" in found[key]:
            raise RuntimeError(f"{key}: {found[key]['error']}")
    return {"words": sum(each["words"] for each in found.values())}


def keys_as_they_come(space, prefix):
    changes = space.watch(prefix, timeout_seconds=20)  # First watch, then look: nothing falls between.
    yield from space.list_keys(prefix)
    yield from (change.key for change in changes if change.kind == "put")
