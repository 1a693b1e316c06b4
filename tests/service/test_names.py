"""Many keys are checked as each of them is alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from datastore import names
from datastore.errors import InvalidName
from datastore.operations import Get


class Text(str):
    """A string of a type of its own."""

    __slots__ = ()


KEYS: list[Any] = ["a", "@x", "é", Text("t"), "x" * 1024, "x" * 1025, "é" * 512, "é" * 513, "", "\0", "\ud800", 1, b"a"]


def alone(keys: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(names.name("key", each) for each in keys)


def outcome(check: Callable[[tuple[Any, ...]], tuple[str, ...]], keys: tuple[Any, ...]) -> object:
    try:
        found = check(keys)
    except InvalidName as error:
        return str(error)
    return found, [type(each) for each in found]


@pytest.mark.parametrize("keys", [*itertools.product(KEYS, repeat=1), *itertools.product(KEYS, repeat=2), ()])
def test_many_keys_are_what_each_of_them_is_alone(keys: tuple[Any, ...]) -> None:
    assert outcome(names.usable_keys, keys) == outcome(alone, keys)


def test_an_operation_checks_each_of_its_keys() -> None:
    assert Get.model_validate({"namespace": "n", "keys": ["a", "é"]}).keys == ("a", "é")
    with pytest.raises(ValueError, match="NUL"):
        Get.model_validate({"namespace": "n", "keys": ["a", "\0"]})
