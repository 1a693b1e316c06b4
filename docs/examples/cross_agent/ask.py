"""Wait for the outcome of a job, whether it ends well, with an error, or not at all.

Input: {"job": "7"}
"""


def run(input_dict, tools):
    job = data_store.use_namespace(f"job:{input_dict['job']}")
    job.wait_for("begun", timeout_seconds=20)
    with job.lock("compute", ttl_seconds=5, wait_seconds=20):  # Free when the one that computes has ended or died.
        outcome = job.get("outcome", {"error": "compute died without an outcome"})
    if "error" in outcome:
        raise RuntimeError(outcome["error"])
    return outcome["mean"]
