"""Pulling: whatever happens on the way, what is in place is what was announced."""

from __future__ import annotations

import errno
import io
import json
import shutil
import threading
import urllib.request
from collections import namedtuple
from http.client import HTTPMessage
from pathlib import Path

import pytest

from antiphon.errors import (
    AntiphonError,
    ConfigError,
    DiskFullError,
    ModelError,
    ModelMissingError,
    StorageError,
)
from antiphon.models import find, locate, places, store, transfer
from antiphon.models import hub as hub_module
from antiphon.models.hub import Mirror
from antiphon.models.manifest import RECORD_NAME, Model, ModelFile
from antiphon.models.pulling import PullProgress, pull
from antiphon.models.record import read_record
from model_hub import COMMIT, CONFIG, REPO, WEIGHTS, Hub, running_hub, sha256, write_checkpoint

pytestmark = pytest.mark.integration

FOLDER = REPO.replace("/", "--")
PART = "model.safetensors.part"
NAMES = ["config.json", "model.safetensors"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def begin(folder: Path, data: bytes, etag: str | None) -> None:
    """What an interrupted pull leaves."""
    folder.mkdir(parents=True)
    (folder / PART).write_bytes(data)
    if etag is not None:
        (folder / f"{PART}.etag").write_text(etag)


class TestWhole:
    def test_files_are_in_place_and_recorded(self, hub: Hub, models: Path) -> None:
        hub.files["part/tokens.txt"] = b"a b"
        done = pull(REPO, models)
        folder = models / FOLDER
        assert names_in(models) == sorted([*NAMES, "tokens.txt", RECORD_NAME])
        assert {n: (folder / n).read_bytes() for n in hub.files} == hub.files
        assert find(REPO, models) == done.stored.path == folder
        assert done.stored.state == "complete"
        assert set(done.fetched) == set(hub.files)

        record = read_record(folder)
        assert record is not None
        assert (record.repo, record.revision, record.source) == (REPO, COMMIT, hub.address)
        found = {file.name: (file.size_bytes, file.sha256) for file in record.files}
        assert found == {name: (len(data), sha256(data)) for name, data in hub.files.items()}

    def test_one_commit_is_fetched_whatever_happens_to_the_branch(
        self, hub: Hub, models: Path
    ) -> None:
        pull(REPO, models)
        assert all(f"/{COMMIT}" in path for path, _ in hub.asked[1:])

    def test_only_plain_data_comes(self, hub: Hub, models: Path) -> None:
        others = ["pytorch_model.bin", "modeling.py", ".gitattributes", ".cache/x.json", "a.png"]
        hub.files |= dict.fromkeys(others, b"import os")
        done = pull(REPO, models)
        assert done.pickles == ("pytorch_model.bin",)
        assert names_in(models) == sorted([*NAMES, RECORD_NAME])

    def test_of_the_two_layouts_of_a_musicgen_the_plain_one_comes(
        self, hub: Hub, models: Path
    ) -> None:
        plain = [
            "README.md", "config.json", "generation_config.json", "model-1.safetensors",
            "model-2.safetensors", "model.safetensors.index.json", "preprocessor_config.json",
            "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
        ]  # fmt: skip
        pickles = ["compression_state_dict.bin", "pytorch_model.bin", "state_dict.bin"]
        others = [".gitattributes", "flax_model.msgpack", "rust_model.ot", "tf_model.h5"]
        shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
        index = json.dumps({"weight_map": shards}).encode()
        hub.files = dict.fromkeys(plain + pickles + others, b"x")
        hub.files["model.safetensors.index.json"] = index
        done = pull(REPO, models)
        assert sorted(done.fetched) == plain
        assert sorted(done.pickles) == pickles
        assert names_in(models) == sorted([*plain, RECORD_NAME])
        assert locate(Model(REPO, repo=REPO), models).state == "complete"

    def test_weights_that_are_only_pickles(self, hub: Hub, models: Path) -> None:
        hub.files = {"config.json": CONFIG, "pytorch_model.bin": b"x"}
        with pytest.raises(ModelError, match=r"pickles \(pytorch_model.bin\).*safetensors"):
            pull(REPO, models)
        del hub.files["pytorch_model.bin"]
        with pytest.raises(ModelError, match="has no weights"):
            pull(REPO, models)
        assert names_in(models) == []

    def test_again_fetches_what_changed_only(self, hub: Hub, models: Path) -> None:
        pull(REPO, models)
        hub.asked.clear()
        assert pull(REPO, models).kept == tuple(NAMES)
        assert not [path for path, _ in hub.asked if "resolve" in path]

        # A file without a checksum may be another one in another version, even of the same size.
        hub.files["config.json"] = CONFIG.replace(b"Tiny", b"Tall")
        hub.commit = "d" * 40
        assert pull(REPO, models).fetched == ("config.json",)
        assert (models / FOLDER / "config.json").read_bytes() == hub.files["config.json"]

    def test_what_was_put_there_by_hand_is_kept_if_it_is_the_same(
        self, hub: Hub, models: Path
    ) -> None:
        folder = write_checkpoint(models / FOLDER)
        assert pull(REPO, models).kept == tuple(NAMES)
        (folder / RECORD_NAME).unlink()
        (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
        assert pull(REPO, models).fetched == ("model.safetensors",)
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS

    def test_a_variant_put_there_by_hand_needs_no_address(self, hub: Hub, models: Path) -> None:
        files = ("music-flamingo-hf.i1-Q6_K.gguf", "music-flamingo-hf.mmproj-f16.gguf")
        (models / "mine").mkdir(parents=True)
        for name in files:
            (models / "mine" / name).write_bytes(b"GGUF")
        assert pull("Q6_K", models).kept == files
        assert hub.asked == []

    def test_files_right_below_an_address(self, hub: Hub, models: Path) -> None:
        name, projector = "music-flamingo-hf.i1-IQ3_M.gguf", "music-flamingo-hf.mmproj-f16.gguf"
        hub.files = {name: WEIGHTS, projector: b"GGUF"}
        done = pull("IQ3_M", models, source=hub.address + "/")
        assert done.stored.path.read_bytes() == WEIGHTS
        assert find("IQ3_M", models).name == name
        # Nobody announces what is there: what was recorded counts.
        assert pull("IQ3_M", models, source=hub.address).kept == (name, projector)

    def test_a_list_in_pages(self, hub: Hub, models: Path) -> None:
        hub.page_size = 2
        pull(REPO, models)
        assert find(REPO, models).is_dir()

    def test_progress(self, hub: Hub, models: Path) -> None:
        seen: list[PullProgress] = []
        pull(REPO, models, on_progress=seen.append)
        total = len(CONFIG) + len(WEIGHTS)
        assert seen[0] == PullProgress("config.json", 0, total)
        assert seen[-1] == PullProgress("model.safetensors", total, total)
        done = [progress.done_bytes for progress in seen]
        assert done == sorted(done)


class TestResuming:
    def test_a_cut_line_goes_on_within_one_pull(self, hub: Hub, models: Path) -> None:
        hub.break_offs = [10**6, 100_000, 0, 200_000]
        pull(REPO, models)
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS
        asked = [headers.get("Range") for headers in hub.asked_for("model.safetensors")]
        assert asked == [None, "bytes=100000-", "bytes=100000-", "bytes=300000-"]

    def test_what_came_stays_for_the_next_pull(self, hub: Hub, models: Path) -> None:
        hub.break_offs = [10**6, 100_000, 0, 0, 0]
        with pytest.raises(
            StorageError, match=r"broke off after 100,000 of 512,000 bytes"
        ) as error:
            pull(REPO, models)
        assert error.value.exit_code == 74
        folder = models / FOLDER
        assert not (folder / "model.safetensors").exists()
        with pytest.raises(ModelMissingError, match=r"only partly here: model.safetensors is miss"):
            find(REPO, models)

        hub.asked.clear()
        seen: list[PullProgress] = []
        assert pull(REPO, models, on_progress=seen.append).fetched == ("model.safetensors",)
        assert (seen[0].done_bytes, seen[-1].done_bytes) == (100_000, 512_000)
        assert hub.asked_for("model.safetensors")[0]["Range"] == "bytes=100000-"
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS
        assert names_in(folder) == sorted([*NAMES, RECORD_NAME])

    def test_a_line_that_falls_silent_goes_on(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "TIMEOUT_SECONDS", 0.1)
        hub.silent_after = 100_000
        pull(REPO, models)
        assert hub.asked_for("model.safetensors")[1]["Range"] == "bytes=100000-"
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS

    def test_ctrl_c_leaves_the_part(self, hub: Hub, models: Path) -> None:
        def interrupt(progress: PullProgress) -> None:
            if progress.done_bytes > len(CONFIG):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pull(REPO, models, on_progress=interrupt)
        part = (models / FOLDER / PART).read_bytes()
        assert part
        assert WEIGHTS.startswith(part)
        assert names_in(models) == sorted(["config.json", PART, f"{PART}.etag", RECORD_NAME])
        pull(REPO, models)
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS

    @pytest.mark.parametrize("honours", [True, False])
    def test_a_changed_file_starts_over(self, hub: Hub, models: Path, honours: bool) -> None:
        begin(models / FOLDER, b"old" * 1000, '"of the old one"')
        hub.honours_if_range = honours
        pull(REPO, models)
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS
        asked = hub.asked_for("model.safetensors")
        assert asked[0]["If-Range"] == '"of the old one"'
        assert len(asked) == (1 if honours else 2)

    @pytest.mark.parametrize("etag", [None, 'W/"weak"'])
    def test_a_part_of_nobody_knows_what_starts_over(
        self, hub: Hub, models: Path, etag: str | None
    ) -> None:
        hub.etag = lambda data: etag
        hub.break_offs = [10**6, 100_000, 0, 0]
        with pytest.raises(StorageError):
            pull(REPO, models)
        hub.asked.clear()
        pull(REPO, models)
        assert "Range" not in hub.asked_for("model.safetensors")[0]
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS

    def test_the_date_tells_the_version_where_there_is_no_etag(
        self, hub: Hub, models: Path
    ) -> None:
        hub.etag = lambda data: None
        hub.headers["Last-Modified"] = "Mon, 02 Nov 2026 10:00:00 GMT"
        hub.honours_if_range = False
        hub.break_offs = [10**6, 100_000]
        pull(REPO, models)
        asked = hub.asked_for("model.safetensors")[1]
        assert (asked["Range"], asked["If-Range"]) == (
            "bytes=100000-",
            hub.headers["Last-Modified"],
        )

    def test_a_part_that_is_all_of_it(self, hub: Hub, models: Path) -> None:
        begin(models / FOLDER, WEIGHTS, hub.etag(WEIGHTS))
        pull(REPO, models)
        assert hub.asked_for("model.safetensors") == []
        shutil.rmtree(models)

        hub.has_checksums = False  # then the server says whether it is
        begin(models / FOLDER, WEIGHTS, hub.etag(WEIGHTS))
        pull(REPO, models)
        assert len(hub.asked_for("model.safetensors")) == 1
        shutil.rmtree(models)

        hub.asked.clear()
        begin(models / FOLDER, WEIGHTS + b"too much", hub.etag(WEIGHTS))
        pull(REPO, models)
        assert len(hub.asked_for("model.safetensors")) == 2
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS

    def test_a_busy_server_is_asked_again(self, hub: Hub, models: Path) -> None:
        hub.statuses["model.safetensors"] = [503, 429]
        pull(REPO, models)
        hub.statuses["model.safetensors"] = [503, 503, 503]
        shutil.rmtree(models)
        with pytest.raises(StorageError, match="answers 503 .*try again later"):
            pull(REPO, models)


class TestWhatIsWrong:
    def nothing_but_the_config(self, models: Path) -> None:
        left = set(names_in(models)) - {"config.json", RECORD_NAME}
        assert not left
        state = locate(Model(REPO, repo=REPO), models).state
        assert state != "complete"

    def test_another_content(self, hub: Hub, models: Path) -> None:
        truth = hub.listing()
        hub.files["model.safetensors"] = WEIGHTS[::-1]
        hub.listing = lambda: truth  # type: ignore[method-assign]
        with pytest.raises(
            ModelError, match=rf"sha256 is {sha256(WEIGHTS[::-1])}; expected"
        ) as got:
            pull(REPO, models)
        assert got.value.exit_code == 1
        self.nothing_but_the_config(models)

    def test_another_size(self, hub: Hub, models: Path) -> None:
        truth = hub.listing()
        truth[-1]["lfs"]["size"] = 400_000
        hub.listing = lambda: truth  # type: ignore[method-assign]
        with pytest.raises(ModelError, match="announced with 512,000 bytes; expected 400,000"):
            pull(REPO, models)
        self.nothing_but_the_config(models)

        hub.headers["Content-Length"] = ""  # then it is seen when more comes
        with pytest.raises(ModelError, match="sends more than the 400,000 bytes"):
            pull(REPO, models)
        self.nothing_but_the_config(models)

    def test_a_compressed_answer(self, hub: Hub, models: Path) -> None:
        hub.headers["Content-Encoding"] = "br"
        with pytest.raises(StorageError, match="comes as br"):
            pull(REPO, models)

    @pytest.mark.parametrize(
        "name",
        ["../x.json", "/etc/x.json", "a/../../x.json", "a\\..\\x.json", "c:x.json", "a//x.json",
         "x\n.json", RECORD_NAME],
    )  # fmt: skip
    def test_a_name_that_leads_out(self, hub: Hub, models: Path, name: str) -> None:
        hub.listed.append({"type": "file", "path": name, "size": 1})
        with pytest.raises(ModelError, match="does not stay inside"):
            pull(REPO, models)
        assert names_in(models.parent) == []

    @pytest.mark.parametrize(
        ("entry", "match"),
        [
            ({"type": "file", "path": 3}, "expected a file with its path"),
            ({"type": "file", "path": "a.gguf", "size": -1}, "size_bytes is -1"),
            ({"type": "file", "path": "a.gguf", "lfs": {"oid": "abc"}}, "sha256 is 'abc'"),
        ],
    )
    def test_a_list_that_is_none(
        self, hub: Hub, models: Path, entry: dict[str, object], match: str
    ) -> None:
        hub.listed.append(entry)
        with pytest.raises(StorageError, match=match):
            pull(REPO, models)

    @pytest.mark.parametrize(
        ("answer", "match"),
        [(b'{"a": 1}', "answers with no list"), (b"<html>", "does not answer with JSON")],
    )
    def test_an_answer_that_is_no_list(
        self, hub: Hub, models: Path, answer: bytes, match: str
    ) -> None:
        hub.list_answer = answer
        with pytest.raises(StorageError, match=match):
            pull(REPO, models)

    def test_a_list_that_goes_on(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.headers["Link"] = '<http://127.0.0.1:1/more>; rel="next"'
        with pytest.raises(StorageError, match="goes on at another server"):
            pull(REPO, models)
        del hub.headers["Link"]
        hub.page_size = 1
        monkeypatch.setattr(hub_module, "_MAX_PAGES", 2)
        with pytest.raises(StorageError, match="for over 2 pages"):
            pull(REPO, models)

    def test_a_list_that_breaks_off(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hub_module, "TIMEOUT_SECONDS", 0.1)
        hub.silent_list = True
        with pytest.raises(StorageError, match="broke off: timed out.*ANTIPHON_MODELS"):
            pull(REPO, models)

    def test_not_there(self, hub: Hub, models: Path) -> None:
        hub.statuses["model.safetensors"] = [404]
        with pytest.raises(StorageError, match=r"answers 404 .*not there.*--from"):
            pull(REPO, models)
        hub.statuses["api"] = [500]
        with pytest.raises(StorageError, match="answers 500"):
            pull(REPO, models)
        hub.statuses["api"] = [404, 500]  # a mirror that knows no commits, then a fault
        with pytest.raises(StorageError, match="answers 500"):
            pull(REPO, models)
        hub.has_list = False
        with pytest.raises(ModelMissingError, match="has no list of the files of 'org/tiny'"):
            pull(REPO, models)

    def test_a_gated_model_says_how_to_get_in(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.statuses["api"] = [401]
        with pytest.raises(StorageError, match=rf"accept its licence at .*/{REPO}.*set HF_TOKEN"):
            pull(REPO, models)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        hub.statuses["api"] = [403]
        with pytest.raises(StorageError, match="the token in HF_TOKEN does not open it") as error:
            pull(REPO, models)
        assert "hf_secret" not in str(error.value)
        with running_hub() as mirror:
            mirror.statuses["api"] = [401]
            with pytest.raises(StorageError, match="HF_TOKEN is sent to .* only"):
                pull(REPO, models, source=mirror.address)

    def test_no_network_names_the_folder_to_fill(self, hub: Hub, models: Path) -> None:
        match = rf"cannot be reached.*{FOLDER} \(ANTIPHON_MODELS is .*models\).*--from"
        with pytest.raises(StorageError, match=match) as error:
            pull(REPO, models, source="http://127.0.0.1:1")
        assert error.value.exit_code == 74

    @pytest.mark.parametrize("source", ["ftp://a/b", "http://", "file:///etc", "http://[a"])
    def test_not_the_web(self, models: Path, source: str) -> None:
        with pytest.raises(ConfigError, match="expected http|is not a web address"):
            pull(REPO, models, source=source)

    @pytest.mark.parametrize(
        ("spec", "error", "match"),
        [
            ("IQ3_M", ModelMissingError, r"not known where .*IQ3_M.*--from.*ANTIPHON_MODELS"),
            ("Q6K", ModelMissingError, r"did you mean 'Q6_K'\?"),
            ("x.imatrix.gguf", ModelError, "calibration data"),
        ],
    )
    def test_nothing_to_pull(
        self, hub: Hub, models: Path, spec: str, error: type[AntiphonError], match: str
    ) -> None:
        with pytest.raises(error, match=match):
            pull(spec, models)
        assert hub.asked == []


class TestToken:
    @pytest.fixture(autouse=True)
    def token(self, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret\n")

    def test_it_goes_to_the_hub_and_not_with_a_redirect(self, hub: Hub, models: Path) -> None:
        with running_hub() as storage:
            storage.break_offs = [10**6, 1000]
            hub.redirect_to = storage.address
            pull(REPO, models)
            assert all(h["Authorization"] == "Bearer hf_secret" for _, h in hub.asked)
            assert storage.asked
            assert not any("Authorization" in h for _, h in storage.asked)
            # What resuming needs does go along.
            assert storage.asked_for("model.safetensors")[1]["Range"] == "bytes=1000-"
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS

    def test_a_redirect_within_the_hub_keeps_it(self, hub: Hub, models: Path) -> None:
        with running_hub() as mirror:
            mirror.redirect_to = hub.address
            pull(REPO, models, source=mirror.address)
            assert not any("Authorization" in h for _, h in mirror.asked)
        assert all("Authorization" in h for _, h in hub.asked)

    def test_one_that_is_none_is_not_shown(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_sec\nret")
        with pytest.raises(ConfigError, match="HF_TOKEN holds characters") as error:
            pull(REPO, models)
        assert "sec" not in str(error.value)
        assert hub.asked == []

    def test_a_redirect_gives_no_encryption_up(self) -> None:
        redirects = hub_module._Redirects()
        request = urllib.request.Request("https://a/x")
        with pytest.raises(ConfigError, match="without encryption"):
            redirects.redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "http://b/x")

    @pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a"])
    def test_a_redirect_leads_to_the_web_only(self, hub: Hub, models: Path, place: str) -> None:
        hub.redirect_to = place
        with pytest.raises(AntiphonError, match="not allowed|expected http"):
            pull(REPO, models)


Usage = namedtuple("Usage", "total used free")


class TestSpace:
    @pytest.fixture(autouse=True)
    def full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 300_000))

    def test_it_is_looked_at_before_the_first_byte(self, hub: Hub, models: Path) -> None:
        with pytest.raises(DiskFullError, match="0.00 GB left.*ANTIPHON_MODELS") as error:
            pull(REPO, models)
        assert error.value.exit_code == 75
        assert not [path for path, _ in hub.asked if "resolve" in path]
        begin(models / FOLDER, WEIGHTS[:300_000], hub.etag(WEIGHTS))
        pull(REPO, models)  # the rest fits

    def test_and_when_the_server_first_tells(self, hub: Hub, models: Path) -> None:
        hub.files["music-flamingo-hf.i1-IQ3_M.gguf"] = WEIGHTS
        with pytest.raises(DiskFullError):
            pull("IQ3_M", models, source=hub.address)

    def test_of_a_copy(self, models: Path, tmp_path: Path) -> None:
        source = write_checkpoint(tmp_path / "usb")
        with pytest.raises(DiskFullError):
            pull(REPO, models, source=str(source))

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_disk_that_fills_up_on_the_way(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, 10**9))
        monkeypatch.setattr(transfer._Part, "open", lambda *_: io.FileIO("/dev/full", "w"))
        with pytest.raises(DiskFullError, match="no space left"):
            pull(REPO, models)


class TestFolders:
    def test_a_folder_is_copied_and_checked(self, models: Path, tmp_path: Path) -> None:
        source = write_checkpoint(tmp_path / "usb" / FOLDER)
        (source / "training_args.bin").write_bytes(b"pickle")
        (source / ".hidden.json").write_text("{}")
        for given in (source, source.parent):  # the folder, or a models folder
            done = pull(REPO, models, source=str(given))
            assert done.pickles == ("training_args.bin",)
            assert names_in(models) == sorted([*NAMES, RECORD_NAME])
        assert done.kept == tuple(NAMES)
        (source / "model.safetensors").write_bytes(WEIGHTS[::-1])
        assert pull(REPO, models, source=str(source)).fetched == ("model.safetensors",)
        assert (models / FOLDER / "model.safetensors").read_bytes() == WEIGHTS[::-1]

    def test_its_own_folder_gets_checksums(self, models: Path) -> None:
        folder = write_checkpoint(models / FOLDER)
        assert pull(REPO, models, source=str(folder)).kept == tuple(NAMES)
        record = read_record(folder)
        assert record is not None
        assert record.files[1].sha256 == sha256(WEIGHTS)

    def test_the_variant_that_is_there_is_taken(self, models: Path, tmp_path: Path) -> None:
        name = "music-flamingo-hf.i1-Q6_K.gguf"
        for file in (name, "music-flamingo-hf.mmproj-f16.gguf"):
            (tmp_path / file).write_bytes(b"GGUF")
        done = pull("Q6_K", models, source=str(tmp_path))
        assert done.stored.model.name == "music-flamingo-hf.i1-Q6_K"
        assert find("Q6_K", models).name == name

    def test_a_folder_without_it(self, models: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelMissingError, match=r"does not hold.*Q6_K.gguf and .*mmproj"):
            pull("Q6_K", models, source=str(tmp_path))
        with pytest.raises(ModelMissingError, match=r"expected in it config.json"):
            pull(REPO, models, source=str(tmp_path))
        with pytest.raises(StorageError, match="is not a folder"):
            pull(REPO, models, source=str(tmp_path / "gone"))


class TestTogether:
    def test_two_pulls_take_turns(self, hub: Hub, models: Path) -> None:
        done = []
        threads = [
            threading.Thread(target=lambda: done.append(pull(REPO, models))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(len(one.fetched) for one in done) == [0, 2]
        assert len(hub.asked_for("model.safetensors")) == 1
        assert names_in(models) == sorted([*NAMES, RECORD_NAME])

    def test_one_that_takes_too_long_is_named(
        self, hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "LOCK_TIMEOUT_SECONDS", 0.05)
        models.mkdir()
        with (
            store.locked(models / FOLDER, models),
            pytest.raises(StorageError, match=rf"{FOLDER} is in use by another process"),
        ):
            pull(REPO, models)
        assert list(models.iterdir()) == []

    def test_models_of_one_folder_share_its_record(self, hub: Hub, models: Path) -> None:
        files = [f"music-flamingo-hf.{part}.gguf" for part in ("Q6_K", "Q8_0", "mmproj-f16")]
        source = models.parent / "usb"
        source.mkdir()
        for file in files:
            (source / file).write_bytes(file.encode())
        pull("Q6_K", models, source=str(source))
        assert pull("Q8_0", models, source=str(source)).kept == (files[2],)
        record = json.loads((find("Q8_0", models).parent / RECORD_NAME).read_text())
        assert {file["name"] for file in record["files"]} == set(files)


class TestPlacesThatCannotBeUsed:
    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place without write")
    def test_the_models_folder(self, hub: Hub) -> None:
        with pytest.raises(StorageError, match="cannot write '/proc/self/models'"):
            pull(REPO, Path("/proc/self/models"))

    def test_a_file_in_place_of_the_folder(self, hub: Hub, models: Path) -> None:
        models.mkdir()
        (models / FOLDER).write_text("mine")
        with pytest.raises(StorageError, match=f"cannot write .*{FOLDER}"):
            pull(REPO, models)
        assert (models / FOLDER).read_text() == "mine"

    @pytest.mark.parametrize("name", ["model.safetensors", f"{PART}.etag", PART])
    def test_a_folder_in_place_of_a_file(self, hub: Hub, models: Path, name: str) -> None:
        (models / FOLDER / name).mkdir(parents=True)
        with pytest.raises(StorageError, match=f"cannot (write|remove) .*{name}.*directory"):
            pull(REPO, models)

    def test_a_source_that_cannot_be_read(
        self, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(StorageError, match="cannot read .*gone"):
            transfer.copy(tmp_path / "gone", ModelFile("a"), tmp_path, lambda count: None)

        def refused(folder: Path) -> list[str]:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(places, "data_files", refused)
        source = write_checkpoint(tmp_path / "usb")
        with pytest.raises(StorageError, match="cannot read .*usb'.*denied"):
            pull(REPO, models, source=str(source))


def test_a_pinned_revision_needs_no_asking(hub: Hub) -> None:
    assert Mirror(hub.address, REPO).commit(COMMIT) == COMMIT
    assert hub.asked == []
