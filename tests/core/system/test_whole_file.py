"""Files that are there whole or not at all."""

import pytest

from triptych.core.system.whole_file import whole


def test_a_file_takes_its_name_when_all_of_it_is_written(tmp_path):
    file = tmp_path / "a.csv"
    with whole(file) as part:
        part.write_text("new")
        assert not file.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "new"


def test_what_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("old")

    def fail():
        with whole(file) as part:
            part.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "old"


def test_two_who_write_at_once_do_not_write_into_each_other(tmp_path):
    file = tmp_path / "a.csv"
    with whole(file) as late:
        late.write_text("late")
        with whole(file) as early:
            early.write_text("early")
        assert file.read_text() == "early"
    assert file.read_text() == "late"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
