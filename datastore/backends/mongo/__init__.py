"""MongoDB: the entries of all owners as documents of one collection, through Motor or PyMongo's async client.

Every change is one plain-operator statement that carries its own condition, so hosts need no lock between them:

- An entry lives while `expiresAt > now`; every filter says so, whatever the server's garbage collection still holds.
- Filters carry `userId` (and namespace and key where they name one entry), so that a sharded cluster routes them.
- Values and metadata are set whole. No part of them is ever a field path, an operator or an expression.
- No regular expression anywhere: a prefix is a range of the index `(userId, namespace, key, expiresAt)`.
- The driver's exceptions are translated in one place, and its connection string is never quoted.

`opening` connects and prepares, `statements` says what a change is in MongoDB's words, `writes` (with `batch`) and
`reads` run them, `inspection` serves operators, `documents` turns what is stored into entries.
"""

from datastore.backends.mongo.backend import MongoBackend

__all__ = ["MongoBackend"]
