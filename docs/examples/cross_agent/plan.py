"""Split a job into parts for any number of workers, in `job:JOB`.

Input: {"job": "7", "texts": ["one two", "three"]}
"""


def run(input_dict, tools):
    job = data_store.use_namespace(f"job:{input_dict['job']}")
    try:
        parts = job.set_many((f"part:{number}", text) for number, text in enumerate(input_dict["texts"]))
        job.set("plan", {"parts": parts})  # Last: whoever sees it can see every part.
    except Exception as error:
        job.set("plan", {"error": f"plan: {type(error).__name__}: {error}"})
        raise
    return {"parts": parts}
