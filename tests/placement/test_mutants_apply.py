"""The faults that `python -m tests.placement.mutants` plants name text that is there."""

import ast

import pytest

from tests.placement.mutants import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.module}: {fault.old}")
def test_a_fault_applies_once_and_can_be_read(fault: Fault) -> None:
    text = fault.path.read_text()
    changed = fault.applied(text)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
