"""Compute the mean of numbers for whoever asks for it; whatever happens, there is an outcome.

Input: {"job": "7", "numbers": [3, 4, 8]}
"""


def run(input_dict, tools):
    job = data_store.use_namespace(f"job:{input_dict['job']}")
    with job.lock("compute", ttl_seconds=5, wait_seconds=20):
        job.set("begun", True)
        try:
            numbers = input_dict["numbers"]
            job.set("outcome", {"mean": sum(numbers) / len(numbers)})
        except Exception as error:
            job.set("outcome", {"error": f"compute: {type(error).__name__}: {error}"})
            raise
