"""Names: what the Hub accepts, what we write, and all 410 sfaira ids."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellzoo.errors import InputError
from cellzoo.hub.names import ModelName, check_repo, check_revision, parse, release_order, release_tag

SFAIRA_IDS = Path(__file__).parents[3] / "shared" / "facts" / "sfaira_model_ids.txt"
WORD = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
NAMES = st.builds(
    ModelName,
    organization=st.from_regex(r"[A-Za-z0-9]{1,8}([._-][A-Za-z0-9]{1,8}){0,2}", fullmatch=True).filter(
        lambda text: not text.endswith(".git")
    ),
    task=WORD,
    topology=WORD,
    topology_version=st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True),
    organism=WORD,
    organ=st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True),
    training_data=st.from_regex(r"[a-z0-9]{1,5}([.-][a-z0-9]{1,5}){0,4}", fullmatch=True).filter(
        lambda text: not text.endswith(".git")
    ),
)


@given(NAMES)
def test_a_name_round_trips(name):
    assert parse(str(name)) == name


def test_the_fields_of_a_name():
    assert parse("czi/embedding-vae-0.2_mouse-lung_census-2025-11-08") == ModelName(
        "czi", "embedding", "vae", "0.2", "mouse", "lung", "census-2025-11-08"
    )


def test_all_sfaira_ids_are_aliases():
    ids = SFAIRA_IDS.read_text().split()
    assert len(ids) == 410
    names = [parse(text) for text in ids]
    assert [parse(str(name)) for name in names] == names
    assert len(set(map(str, names))) == 410
    for text, name in zip(ids, names, strict=True):
        version = name.training_data.removeprefix("sfaira-")
        assert f"{name.task}_{name.organism}-{name.organ}-{name.topology}-{name.topology_version}-{version}" == (
            text.removesuffix("_theislab")
        )


def test_the_hub_client_accepts_what_we_accept():
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    for text in SFAIRA_IDS.read_text().split():
        validate_repo_id(str(parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "celltype-mlp-0.1.1_human-blood_zoo-1",  # no organization
        "cellzoo/celltype-mlp-0.1.1_human-blood",  # no training data
        "cellzoo/celltype-mlp-0.1.1_human-blood_zoo-1_more",
        "cellzoo/celltype-mlp-x_human-blood_zoo-1",
        "cellzoo/celltype-mlp-0.1.1_human-Blood_zoo-1",
        "cellzoo/celltype-mlp-0.1.1_human-blood_zoo--1",
        "cellzoo/celltype-mlp-0.1.1_human-blood_zoo..1",
        "cellzoo/celltype-mlp-0.1.1_human-blood_zoo-1.git",
        "cellzoo/celltype-mlp-0.1.1_human-blood_zoo-1\n",
        "../celltype-mlp-0.1.1_human-blood_zoo-1",
        "a/b/celltype-mlp-0.1.1_human-blood_zoo-1",
        "cellzoo/celltype-mlp-0.1.1_human-blood_" + "a" * 70,
        "embedding_human-blood-ae-0.2_theislab",
    ],
)
def test_a_bad_name_is_refused(text):
    with pytest.raises(InputError, match="expected"):
        parse(text)


@pytest.mark.parametrize(
    "repo", ["a", "a/b/c", "../b", "a/..", "a/b.git", "a/-b", "a/b.", "a/b--c", "a/ b", "a/b\n", "/b"]
)
def test_a_bad_repo_is_refused(repo):
    with pytest.raises(InputError, match="no repo id"):
        check_repo(repo)


@pytest.mark.parametrize("revision", ["", "..", "a/../b", "-x", "a b", "v1\n", "/etc", "a\\b"])
def test_a_bad_revision_is_refused(revision):
    with pytest.raises(InputError, match="no revision"):
        check_revision(revision)


@pytest.mark.parametrize("release", ["1.0.0", "0.1.12", "1.0.0-rc.1", "2.0.0-alpha+build.5"])
def test_a_release_is_tagged_with_a_v(release):
    assert release_tag(release) == f"v{release}"
    assert check_revision(f"v{release}") == f"v{release}"


@pytest.mark.parametrize(
    "release", ["", "1", "1.0", "01.0.0", "v1.0.0", "1.0.0\n", "1.0.0-", "1.0.0-01", "1.0.0/..", "٣.0.0"]
)
def test_a_release_must_be_semantic(release):
    with pytest.raises(InputError, match=r"MAJOR\.MINOR\.PATCH"):
        release_tag(release)


def test_releases_sort_by_version():
    tags = ["v1.0.0-alpha", "v1.0.0-alpha.2", "v1.0.0-alpha.10", "v1.0.0-rc.1", "v1.0.0", "v1.2.0", "v1.10.0"]
    assert sorted(reversed(tags), key=release_order) == tags
