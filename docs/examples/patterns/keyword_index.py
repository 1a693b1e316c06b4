"""Index the words of documents, and find the documents that use a word.

Input: {"document": "a.txt", "text": "Tea and milk."} or {"find": "tea"}
"""

import re


def run(input_dict, tools):
    if "find" in input_dict:
        word = input_dict["find"].lower()
        return [key.partition(" ")[2] for key in data_store.use_namespace("index").keys(f"{word} ")]
    return learn(input_dict["document"], sorted(set(re.findall(r"\w+", input_dict["text"].lower()))))


def learn(document, words):
    documents = data_store.use_namespace("documents")
    while True:
        known = documents.get_entry(document)
        gone = set(known.value if known else []) - set(words)
        try:
            with documents.atomic() as changes:
                changes.check(document, known.version if known else data_store.ABSENT)
                changes.set(document, words)
                index = changes.use_namespace("index")
                for word in words:
                    index.set(f"{word} {document}", True)
                for word in gone:
                    index.delete(f"{word} {document}")
        except data_store.Conflict:
            continue  # Another run has indexed this document: look again what is gone.
        return {"words": len(words), "gone": len(gone)}
