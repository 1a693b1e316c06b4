"""Count a visit of a page.

Input: {"page": "home"}
"""


def run(input_dict, tools):
    return data_store.use_namespace("visits").incr(input_dict["page"])
