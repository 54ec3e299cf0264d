"""`camomile records`, `export`, `import`, `check`: on a real node, and on files that mean no good."""

from __future__ import annotations

import base64
import json
import random
import stat
import time
from pathlib import Path

import pytest

from camomile_trio.cli import exports
from camomile_trio.cli.failures import CommandFailed
from camomile_trio.identity import KeyPair, network_id, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.ids import Key
from camomile_trio.node import archive
from tests.cli.processes import Processes, url_of
from tests.cli.terminal import Run, complaint

ALICE = KeyPair.new(random.Random(5))
NETWORK = network_id("camomile")


def entry(number: int) -> bytes:
    value = b"carried %d" % number
    unsigned = leases.new_lease(
        Key.of(value), ALICE.public, seen=0, now=time.time_ns() // 1_000_000 - 1000, life_ms=3_600_000
    )
    return archive.entry_line(archive.Entry(Key.of(value), (sign_record(unsigned, ALICE, NETWORK).row(),), value))


def written(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(lines))
    return str(path)


@pytest.mark.real_time
def test_records_are_listed_exported_checked_and_taken_in_by_another_node(
    run: Run, processes: Processes, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, listening = processes.node("--data-dir", str(tmp_path / "old"))
    old.event("ready")
    values = [f"value {number}" for number in range(70)] + ["x" * 400_000, "y" * 700_000]
    for value in values[70:]:
        (tmp_path / "value").write_text(value)
        assert run("put", "--file", str(tmp_path / "value"), "--node", url_of(listening)).exit_code == 0
    for value in values[:70]:
        assert run("put", value, "--ttl", "3600", "--node", url_of(listening)).exit_code == 0
    at_old = ("--data-dir", str(tmp_path / "old"))
    table = run("records", *at_old).stdout.splitlines()
    assert len(table) == 73
    assert table[0].split() == ["KEY", "KIND", "ENDS", "PUBLISHER", "SIZE", "COPIES"]
    listed = [json.loads(line) for line in run("records", "--json", *at_old).stdout.splitlines()]
    assert {each["key"] for each in listed} == {str(Key.of(value.encode())) for value in values}
    assert {each["renewable"] for each in listed if each["size"] < 100} == {False}

    file = str(tmp_path / "export")
    done = run("export", "--output", file, *at_old)
    assert (done.exit_code, done.stderr) == (0, "exported 72 keys\n")
    assert run("export", *at_old).stdout_bytes == Path(file).read_bytes()
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
    checked = run("check", file)
    assert (checked.exit_code, checked.stdout) == (0, "good     72 records of 72 keys\n")

    new, at_new = processes.node("--data-dir", str(tmp_path / "new"))
    new.event("ready")
    taken = run("import", file, "--data-dir", str(tmp_path / "new"))
    assert (taken.exit_code, taken.stdout) == (0, "imported 72 records of 72 keys\n")
    for value in values[-3:]:
        assert run("get", str(Key.of(value.encode())), "--node", url_of(at_new)).stdout == value
    again = [
        json.loads(line) for line in run("records", "--json", "--data-dir", str(tmp_path / "new")).stdout.splitlines()
    ]
    terms = ("key", "publisher", "seq", "issued", "expires")
    assert [[each[term] for term in terms] for each in again] == [[each[term] for term in terms] for each in listed]


@pytest.mark.real_time
def test_every_bad_entry_is_counted_by_its_reason_and_the_good_ones_are_in(
    run: Run, processes: Processes, tmp_path: Path
) -> None:
    # A node of its own: one that others have joined and left counts nothing alone.
    directory = tmp_path / "node"
    directory.mkdir()
    node, listening = processes.node("--data-dir", str(directory))
    node.event("ready")
    file = written(
        tmp_path / "export",
        archive.header_line("camomile"),
        entry(1),
        b"nonsense\n",
        entry(2).replace(base64.b64encode(b"carried 2"), base64.b64encode(b"carried 3")),
        json.dumps({"key": "00" * 32, "records": ["A" * 164]}).encode() + b"\n",
        json.dumps({"key": "00" * 32, "records": ["A" * 164], "value": "A" * 8_000_000}).encode() + b"\n",
        entry(4),
        archive.end_line(6),
    )
    taken = run("import", file, "--data-dir", str(directory))
    assert taken.exit_code == 1
    assert taken.stdout.splitlines()[0] == "imported 2 records of 6 keys", taken.stdout + taken.stderr
    assert set(taken.stdout.splitlines()[1:]) == {
        "refused  1  malformed",
        "refused  1  wrong value",
        "refused  1  bad signature",
        "refused  1  too large",
    }
    assert "4 records or entries were refused" in taken.stderr
    assert run("get", str(Key.of(b"carried 4")), "--node", url_of(listening)).stdout == "carried 4"
    assert run("get", str(Key.of(b"carried 2")), "--node", url_of(listening)).exit_code == 3


@pytest.mark.real_time
def test_every_entry_before_the_place_where_a_file_goes_wrong_is_taken_in(
    run: Run, processes: Processes, tmp_path: Path
) -> None:
    directory = tmp_path / "node"
    node, listening = processes.node("--data-dir", str(directory))
    node.event("ready")
    # A batch has 16 entries: some are in the last one, wherever the file ends.
    stories = {
        "the export was cut short after 20 entries": b"",
        "the export was cut short after 20 entries;": entry(999)[:100],
        "entry 21 has more than": b"x" * (archive.longest_line(exports.LARGEST_VALUE) + 1),
        "does not say that it has 20 entries": archive.end_line(21),
    }
    for story, (said, ending) in enumerate(stories.items()):
        numbers = range(100 * story, 100 * story + 20)
        file = written(tmp_path / "export", archive.header_line("camomile"), *map(entry, numbers), ending)
        taken = run("import", file, "--data-dir", str(directory))
        assert (taken.exit_code, taken.stdout) == (1, "imported 20 records of 20 keys\n")
        assert said in taken.stderr
        for number in numbers:
            value = f"carried {number}"
            assert run("get", str(Key.of(value.encode())), "--node", url_of(listening)).stdout == value


@pytest.mark.real_time
def test_what_was_refused_before_a_file_ends_badly_is_named(run: Run, processes: Processes, tmp_path: Path) -> None:
    directory = tmp_path / "node"
    node, _ = processes.node("--data-dir", str(directory))
    node.event("ready")
    file = written(tmp_path / "export", archive.header_line("camomile"), entry(1), b"nonsense\n", entry(2)[:50])
    taken = run("import", file, "--data-dir", str(directory))
    assert (taken.exit_code, taken.stdout) == (1, "imported 1 records of 2 keys\nrefused  1  malformed\n")
    assert "cut short after 2 entries" in taken.stderr


@pytest.mark.real_time
def test_what_follows_rubbish_in_its_batch_is_counted_before_the_file_is_given_up(
    run: Run, processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_BAD_IN_A_ROW", 3)
    directory = tmp_path / "node"
    node, _ = processes.node("--data-dir", str(directory))
    node.event("ready")
    good, rubbish = [*map(entry, range(32))], [b"nonsense\n"]
    lines = (archive.header_line("camomile"), *good[:1], *3 * rubbish, *good[1:13], *16 * rubbish, *good[13:])
    taken = run("import", written(tmp_path / "export", *lines), "--data-dir", str(directory))
    assert (taken.exit_code, taken.stdout) == (1, "imported 13 records of 32 keys\nrefused  19  malformed\n")
    assert "the last 16 entries were all refused" in taken.stderr


def test_a_file_that_was_cut_short_is_told_from_a_whole_one(run: Run, tmp_path: Path) -> None:
    whole = archive.header_line("camomile") + entry(1) + entry(2) + archive.end_line(2)
    assert run("check", written(tmp_path / "whole", whole)).exit_code == 0
    ends_of_lines = {place + 1 for place in range(len(whole)) if whole[place : place + 1] == b"\n"}
    for length in [*range(0, len(whole), 97), *ends_of_lines]:
        if length == len(whole):
            continue
        cut = run("check", written(tmp_path / "cut", whole[:length]))
        assert cut.exit_code == 1
        assert len(cut.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (b"", "no export"),
        (b"\x00" * 10_000, "malformed"),
        (b"hello\n", "malformed"),
        (entry(1), "no header"),
        (archive.header_line("camomile").replace(b'"version":1', b'"version":2'), "knows version 1"),
        (archive.header_line("meadow"), "of the network 'meadow', not of 'camomile'"),
    ],
)
def test_what_is_no_export_of_this_network_is_said_so(run: Run, tmp_path: Path, first: bytes, told: str) -> None:
    assert told in complaint(run("check", written(tmp_path / "export", first, entry(1), archive.end_line(1))))


def test_lines_that_were_added_or_lost_are_noticed(run: Run, tmp_path: Path) -> None:
    for count in (0, 1, 3):
        lines = (archive.header_line("camomile"), entry(1), entry(2), archive.end_line(count))
        checked = run("check", written(tmp_path / "export", *lines))
        assert "does not say that it has 2 entries" in checked.stderr
        assert checked.stdout == "good     2 records of 2 keys\n"


class Endless:
    """A file without an end: the header, then the same bytes again and again."""

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.read = 0
        self._is_first = True

    def readline(self, limit: int) -> bytes:
        if self._is_first:
            self._is_first = False
            return archive.header_line("camomile")
        given = self.line if self.line.endswith(b"\n") else self.line * (limit // len(self.line))
        self.read += len(given)
        return given


def test_an_endless_file_of_rubbish_is_not_read_to_its_end() -> None:
    source = Endless(b"rubbish\n")
    tally = exports.Tally()
    reader = exports.ExportReader(source, "camomile")  # type: ignore[arg-type]
    with pytest.raises(CommandFailed, match="the last 1000 entries were all refused"):  # noqa: PT012 (as a command reads)
        for _ in reader.lines():
            tally.count(0, ["malformed"])
            tally.require_sense()
    assert source.read <= 1001 * len(source.line)


def test_an_endless_line_is_not_kept() -> None:
    source = Endless(b"x")
    reader = exports.ExportReader(source, "camomile", most=1000)  # type: ignore[arg-type]
    with pytest.raises(CommandFailed, match="this is no export"):
        list(reader.lines())
    assert source.read <= archive.longest_line(1000) + 1
