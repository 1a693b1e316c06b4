"""Write an invoice under the next number.

Input: {"customer": "ann", "total": 12}
"""


def run(input_dict, tools):
    number = data_store.use_namespace("sequences").incr("invoices")
    data_store.use_namespace("invoices").set(f"{number:012}", input_dict)
    return number
