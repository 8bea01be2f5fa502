"""A pipeline reads files of its own folder, and no others unless it is allowed to."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from triptych.core.paths import FilePath, Paths, Typed


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """root, here and elsewhere, each with a file of its name in it."""
    for name in ("root", "here", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.onnx").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


@pytest.fixture
def paths(folders):
    return Paths(root=folders / "root", here=folders / "here")


def refused(paths, text):
    with pytest.raises(PydanticCustomError) as caught:
        paths.resolve(text)
    return caught.value.type


def test_relative_paths_start_at_the_root(paths, folders):
    assert paths.resolve("root.onnx") == folders / "root" / "root.onnx"
    assert paths.resolve(".") == folders / "root"
    assert refused(paths, "here.onnx") == "path_missing"


def test_dotted_paths_start_at_the_file(paths, folders):
    assert paths.resolve("./here.onnx") == folders / "here" / "here.onnx"
    assert refused(paths, "./root.onnx") == "path_missing"


def test_typed_dotted_paths_start_at_the_working_directory(paths, folders):
    assert paths.resolve(Typed("./elsewhere.onnx")) == folders / "elsewhere" / "elsewhere.onnx"
    assert paths.resolve(Typed("root.onnx")) == folders / "root" / "root.onnx"
    assert refused(paths, Typed("./../outside")) == "path_outside"


@pytest.mark.parametrize("text", ["../elsewhere/elsewhere.onnx", "a/../../elsewhere", "/etc", "~"])
def test_a_path_outside_is_refused_whether_it_exists_or_not(paths, text):
    assert refused(paths, text) == "path_outside"


def test_root_and_here_may_read_each_other(paths, folders):
    assert paths.resolve("../here/here.onnx").samefile(folders / "here" / "here.onnx")


def test_all_is_open_once_it_is_allowed(folders):
    paths = Paths(folders / "root", folders / "here", allow_outside=True)
    assert paths.resolve("../elsewhere/elsewhere.onnx").exists()
    assert refused(paths, "../elsewhere/nothing") == "path_missing"


@pytest.mark.parametrize("text", ["a\0b", "a" * 300, "loop", "~nobody-of-this-name/x"])
def test_what_is_no_path_is_refused(paths, folders, text):
    (folders / "root" / "loop").symlink_to("loop")
    assert refused(paths, text) == "path_invalid"


# Links


def test_a_link_that_stays_inside_is_followed(paths, folders):
    (folders / "root" / "link.onnx").symlink_to("root.onnx")
    assert paths.resolve("link.onnx") == folders / "root" / "link.onnx"


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_that_leads_outside_is_refused(paths, folders, link):
    target = folders / "elsewhere"
    if link == "file":
        (folders / "root" / "link.onnx").symlink_to(target / "elsewhere.onnx")
        assert refused(paths, "link.onnx") == "path_outside"
    else:
        (folders / "root" / "link").symlink_to(target)
        assert refused(paths, "link/elsewhere.onnx") == "path_outside"


def test_a_folder_that_is_reached_by_a_link_is_itself_fine(folders):
    (folders / "models").symlink_to(folders / "root")
    paths = Paths(folders / "models", folders / "models")
    assert paths.resolve("root.onnx").exists()


@pytest.fixture
def cache(tmp_path):
    """A Hugging Face cache: two models, whose snapshots link into their blobs."""
    for model in ("models--org--one", "models--org--two"):
        blobs = tmp_path / "hub" / model / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "abc").write_bytes(b"weights")
        snapshot = tmp_path / "hub" / model / "snapshots" / "rev"
        (snapshot / "onnx").mkdir(parents=True)
        (snapshot / "decoder.onnx").symlink_to(Path("../../blobs/abc"))
        (snapshot / "onnx" / "decoder.onnx").symlink_to(Path("../../../blobs/abc"))
    return tmp_path / "hub"


def snapshot_of(cache, model):
    snapshot = cache / model / "snapshots" / "rev"
    return Paths(snapshot, snapshot)


def test_a_snapshot_links_into_its_own_blobs(cache):
    paths = snapshot_of(cache, "models--org--one")
    assert paths.resolve("decoder.onnx").read_bytes() == b"weights"
    assert paths.resolve("onnx/decoder.onnx").exists()
    below = Paths(paths.root / "onnx", paths.root / "onnx")
    assert below.resolve("decoder.onnx").exists()


def test_a_snapshot_does_not_link_into_another_models_blobs(cache):
    paths = snapshot_of(cache, "models--org--one")
    (paths.root / "other.onnx").symlink_to(cache / "models--org--two" / "blobs" / "abc")
    assert refused(paths, "other.onnx") == "path_outside"


def test_a_folder_that_imitates_a_cache_cannot_name_its_blobs(folders):
    """`blobs` that is a link would open whatever it leads to."""
    model = folders / "models--evil--model"
    snapshot = model / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    (model / "blobs").symlink_to(folders / "elsewhere")
    (snapshot / "x").symlink_to(Path("../../blobs/elsewhere.onnx"))
    assert refused(Paths(snapshot, snapshot), "x") == "path_outside"


def test_blobs_of_a_folder_that_is_no_models_are_not_opened(folders):
    snapshot = folders / "snapshots" / "rev"
    snapshot.mkdir(parents=True)
    (folders / "blobs").mkdir()
    (folders / "blobs" / "abc").write_bytes(b"")
    (snapshot / "x").symlink_to(Path("../../blobs/abc"))
    assert refused(Paths(snapshot, snapshot), "x") == "path_outside"


# As a setting


class Settings(BaseModel):
    graph: FilePath


def test_a_setting_is_resolved_by_the_paths_of_the_validation(paths, folders):
    settings = Settings.model_validate({"graph": "root.onnx"}, context={"paths": paths})
    assert settings.graph == folders / "root" / "root.onnx"
    with pytest.raises(ValidationError, match="lies outside of the pipeline's folder"):
        Settings.model_validate({"graph": "/etc/passwd"}, context={"paths": paths})


def test_without_paths_a_setting_is_taken_as_it_is():
    assert Settings(graph="anywhere/x.onnx").graph == Path("anywhere/x.onnx")
    assert Settings(graph=Path("/x")).graph == Path("/x")


def test_the_nearest_name_is_offered(paths):
    with pytest.raises(PydanticCustomError) as caught:
        paths.resolve("rot.onnx")
    assert caught.value.context["nearest"] == "root.onnx"


def test_a_link_that_leads_nowhere_is_told_from_a_missing_file(paths, folders):
    (folders / "root" / "link.onnx").symlink_to("gone.onnx")
    with pytest.raises(PydanticCustomError, match=r"is a link to gone\.onnx, which is not there"):
        paths.resolve("link.onnx")


def test_a_path_is_shortened_to_the_root(paths, folders):
    assert paths.short(folders / "root" / "a" / "b") == "a/b"
    assert paths.short(folders / "here" / "b") == str(folders / "here" / "b")
