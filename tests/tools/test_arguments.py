"""What the project's own commands say when they are misused, before they do anything."""

from __future__ import annotations

import argparse

import pytest

from tools.arguments import amount, whole
from tools.mutants.__main__ import main as mutants


@pytest.mark.parametrize("text", ["", "-1", "0", "11", "1.5", "ten", "٣"])
def test_a_whole_number_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 10"):
        whole(1, 10)(text)
    assert [whole(1, 10)(each) for each in ("1", "10")] == [1, 10]


@pytest.mark.parametrize("text", ["", "0.05", "11", "nan", "much"])
def test_an_amount_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"from 0\.1 to 10"):
        amount(0.1, 10)(text)
    assert [amount(0.1, 10)(each) for each in ("0.1", "10")] == [0.1, 10.0]


def test_mutants_that_nobody_knows_are_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mutants", "no such defect"])
    with pytest.raises(SystemExit) as end:
        mutants()
    assert end.value.code == 2
    assert "no mutant's words contain 'no such defect'" in capsys.readouterr().err
