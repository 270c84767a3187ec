"""What is in the models folder, how it is found, checked and removed."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from antiphon import models as models_package
from antiphon.errors import ConfigError, ModelError, ModelMissingError, StorageError
from antiphon.models import find, get, here, known, locate, projector, remove, store, verify
from antiphon.models.finding import PACKAGED, packaged
from antiphon.models.manifest import RECORD_NAME, Model
from antiphon.models.pulling import pull
from antiphon.models.record import sha256_of
from model_hub import WEIGHTS, write_checkpoint

pytestmark = pytest.mark.unit

Q6, Q8 = "music-flamingo-hf.Q6_K.gguf", "music-flamingo-hf.Q8_0.gguf"
PROJECTOR = "music-flamingo-hf.mmproj-f16.gguf"
HOME = "mradermacher--music-flamingo-hf-GGUF"


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def test_public_names_resolve() -> None:
    assert {name for name in models_package.__all__ if getattr(models_package, name)}
    assert set(models_package.__all__) <= set(dir(models_package))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        models_package.nonsense  # noqa: B018


class TestFinding:
    @pytest.mark.parametrize("spec", ["Q6_K", "q6_k", "music-flamingo-hf-Q6_K", Q6])
    @pytest.mark.parametrize("folder", [HOME, "", "music_flamingo"])
    def test_a_gguf_by_all_its_names_and_places(self, models: Path, spec: str, folder: str) -> None:
        put(models / folder, Q6, PROJECTOR)
        path = find(spec, models)
        assert path == models / folder / Q6
        assert projector(path) == models / folder / PROJECTOR

    def test_the_setting_is_the_default(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTIPHON_MODELS", str(models))
        put(models / HOME, Q8, PROJECTOR)
        assert find("Q8_0").name == Q8

    @pytest.mark.parametrize("folder", ["nvidia--music-flamingo-hf", "nvidia/music-flamingo-hf"])
    def test_a_checkpoint(self, models: Path, folder: str) -> None:
        (models / "nvidia--music-flamingo-hf").mkdir(parents=True)
        (models / "nvidia--music-flamingo-hf").rmdir()
        write_checkpoint(models / folder)
        assert find("nvidia/music-flamingo-hf", models) == models / folder

    def test_a_path_is_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = write_checkpoint(tmp_path / "mine")
        assert find(folder, tmp_path / "models") == folder
        monkeypatch.chdir(tmp_path)
        put(Path("org/name"), "config.json")
        assert find("org/name", tmp_path / "models") == Path("org/name")

    def test_what_lies_in_the_models_folder_under_its_own_name(self, models: Path) -> None:
        put(models, "other.gguf")
        write_checkpoint(models / "mine")
        assert find("other.gguf", models) == models / "other.gguf"
        assert find("mine", models) == models / "mine"

    def test_missing_says_what_to_do(self, models: Path) -> None:
        with pytest.raises(ModelMissingError) as error:
            find("nvidia/music-flamingo-hf", models)
        assert error.value.exit_code == 4
        for part in (
            "'nvidia/music-flamingo-hf' is not on this machine",
            "'antiphon models pull nvidia/music-flamingo-hf'",
            f"{models}/nvidia--music-flamingo-hf",
            f"ANTIPHON_MODELS is {models}",
        ):
            assert part in str(error.value)
        with pytest.raises(ModelMissingError, match=r"pull .*IQ3_M --from FOLDER\|URL'.*mmproj"):
            find("IQ3_M", models)

    def test_partly_here(self, models: Path) -> None:
        put(models / HOME, Q6)
        with pytest.raises(ModelMissingError, match=rf"partly here: {PROJECTOR} is missing"):
            find("Q6_K", models)
        with pytest.raises(ModelMissingError, match=f"has no projector.*expected {PROJECTOR}"):
            projector(models / HOME / Q6)

    @pytest.mark.parametrize("spec", ["", "Q6K", "a/b/c.gguf", "~nobody/x", "x" * 300, "../models"])
    def test_a_name_nobody_knows(self, models: Path, spec: str) -> None:
        models.mkdir()
        with pytest.raises(ModelMissingError, match="neither a file, a folder nor a known name"):
            find(spec, models / "deeper")

    @pytest.mark.parametrize("spec", ["musicgen-smal", "facebook-musicgen-small"])
    def test_the_nearest_names_are_named(self, models: Path, spec: str) -> None:
        with pytest.raises(ModelMissingError, match=r"did you mean '?.*'facebook/musicgen-small'"):
            find(spec, models)

    def test_what_is_no_model(self, models: Path) -> None:
        put(models, "music-flamingo-hf.imatrix.gguf", PROJECTOR)
        for spec in ("music-flamingo-hf.imatrix.gguf", models / "music-flamingo-hf.imatrix.gguf"):
            with pytest.raises(ModelError, match="calibration data .* not a model"):
                find(spec, models)
        with pytest.raises(ModelError, match="is the projector of a model"):
            find(models / PROJECTOR, models)

    def test_a_repository_may_be_called_after_them(self, models: Path) -> None:
        with pytest.raises(ModelMissingError, match="'org/x-imatrix' is not on this machine"):
            find("org/x-imatrix", models)

    def test_which_projector(self, tmp_path: Path) -> None:
        put(tmp_path, "mine.gguf", "a.mmproj.gguf")
        assert projector(tmp_path / "mine.gguf").name == "a.mmproj.gguf"
        put(tmp_path, "b.mmproj.gguf")
        with pytest.raises(ModelError, match=r"2 projectors beside it: a.mmproj.gguf, b.mmproj"):
            projector(tmp_path / "mine.gguf")
        put(tmp_path, Q6, PROJECTOR)
        assert projector(tmp_path / Q6).name == PROJECTOR


class TestHere:
    def test_nothing(self, models: Path) -> None:
        assert here(models) == []
        assert {locate(model, models).state for model in known()} == {"absent"}

    def test_known_and_unknown(self, models: Path) -> None:
        put(models / HOME, Q6, PROJECTOR)
        write_checkpoint(models / "facebook--musicgen-small")
        write_checkpoint(models / "org--other")
        write_checkpoint(models / "mine")
        put(models / "notes", "readme.md")
        put(models / ".cache", "config.json")
        found = here(models)
        assert [m.name for m in found] == [
            "music-flamingo-hf-Q6_K", "facebook/musicgen-small", "mine", "org/other"
        ]  # fmt: skip
        assert [found[1].licence, found[3].licence] == ["CC-BY-NC 4.0", None]
        assert [locate(model, models).state for model in found] == ["complete"] * 4

    def test_a_projector_alone_is_no_model(self, models: Path) -> None:
        put(models / HOME, PROJECTOR)
        assert here(models) == []

    def test_a_checkpoint_by_its_own_index(self, models: Path) -> None:
        folder = write_checkpoint(models / "mine")
        shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
        put(folder, "model-1.safetensors")
        stored = locate(Model("mine"), models)
        assert (stored.state, stored.lacking) == ("partial", ("model-2.safetensors",))
        put(folder, "model-2.safetensors")
        assert locate(Model("mine"), models).state == "complete"
        for index in ("[]", "{", '{"weight_map": {"a": "../../etc/x"}}'):
            (folder / "model.safetensors.index.json").write_text(index)
            with pytest.raises(ModelError, match=r"index.json is not understood.*delete it"):
                locate(Model("mine"), models)

    def test_ggufs_without_a_configuration(self, models: Path) -> None:
        put(models / "mine", "a.gguf")
        assert locate(Model("mine"), models).state == "complete"

    def test_what_cannot_be_read(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (models / "mine" / RECORD_NAME).mkdir(parents=True)
        with pytest.raises(StorageError, match=f"cannot read .*{RECORD_NAME}"):
            locate(Model("mine"), models)
        with pytest.raises(StorageError, match="cannot read .*mine"):
            sha256_of(models / "mine")

        def refused(*_: object) -> Path:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refused)
        with pytest.raises(StorageError, match="cannot read .*models'"):
            here(models)

    def test_a_broken_record_is_named(self, models: Path) -> None:
        folder = write_checkpoint(models / "mine")
        (folder / RECORD_NAME).write_text('{"repo": 3}')
        with pytest.raises(ModelError, match=rf"{RECORD_NAME} is not valid.*delete it"):
            locate(Model("mine"), models)


class TestVerifying:
    @pytest.fixture
    def pulled(self, models: Path, tmp_path: Path) -> Path:
        """The folder of a model with its record."""
        source = write_checkpoint(tmp_path / "usb")
        return pull("org/tiny", models, source=str(source)).stored.folder

    def verdicts(self, models: Path) -> dict[str, str]:
        return {check.name: check.verdict for check in verify(get("org/tiny", models))}

    def test_whole(self, models: Path, pulled: Path) -> None:
        assert self.verdicts(models) == {"config.json": "ok", "model.safetensors": "ok"}

    def test_one_bit(self, models: Path, pulled: Path) -> None:
        damaged = bytearray(WEIGHTS)
        damaged[1000] ^= 1
        (pulled / "model.safetensors").write_bytes(damaged)
        assert self.verdicts(models) == {"config.json": "ok", "model.safetensors": "damaged"}
        assert get("org/tiny", models).state == "complete"  # only reading it all shows

    def test_cut_short_missing_and_new(self, models: Path, pulled: Path) -> None:
        (pulled / "model.safetensors").write_bytes(WEIGHTS[:-1])
        (pulled / "config.json").unlink()
        put(pulled, "new.json")
        assert self.verdicts(models) == {
            "config.json": "missing", "model.safetensors": "damaged", "new.json": "unknown"
        }  # fmt: skip
        assert get("org/tiny", models).lacking == ("config.json", "model.safetensors")

    def test_put_there_by_hand_nobody_can_say(self, models: Path) -> None:
        put(models / HOME, Q6, PROJECTOR)
        verdicts = [check.verdict for check in verify(get("Q6_K", models))]
        assert verdicts == ["unknown", "unknown"]


class TestRemoving:
    def test_a_checkpoint(self, models: Path) -> None:
        write_checkpoint(models / "mine")
        put(models / "other", "a.gguf")
        remove(get("mine", models), models)
        assert [path.name for path in models.iterdir()] == ["other"]

    def test_a_shared_projector_goes_last(self, models: Path, tmp_path: Path) -> None:
        source = put(tmp_path / "usb", Q6, Q8, PROJECTOR)
        for quant in ("Q6_K", "Q8_0"):
            pull(quant, models, source=str(source))
        remove(get("Q6_K", models), models)
        assert find("Q8_0", models).exists()
        assert not (models / HOME / Q6).exists()
        assert [check.verdict for check in verify(get("Q8_0", models))] == ["ok", "ok"]
        remove(get("Q8_0", models), models)
        assert list(models.iterdir()) == []

    def test_what_begun_goes_too(self, models: Path) -> None:
        put(models / HOME, f"{Q6}.part", f"{Q6}.part.etag")
        assert get("Q6_K", models).state == "partial"
        remove(get("Q6_K", models), models)
        assert list(models.iterdir()) == []

    def test_nothing_there(self, models: Path) -> None:
        with pytest.raises(ModelMissingError, match="nothing removed"):
            remove(get("Q6_K", models), models)

    def test_never_outside(self, models: Path, tmp_path: Path) -> None:
        precious = write_checkpoint(tmp_path / "precious")
        put(precious, Q6, PROJECTOR)
        models.mkdir()
        (models / "mine").symlink_to(precious)
        (models / "org").symlink_to(tmp_path)
        with pytest.raises(ConfigError, match=r"leads to .*precious, outside of"):
            remove(get("Q6_K", models), models)
        with pytest.raises(ConfigError, match=r"outside of"):
            remove(get("org/precious", models), models)
        remove(get("mine", models), models)  # the link alone
        assert not (models / "mine").exists()
        assert len(list(precious.iterdir())) == 4

    def test_what_the_system_refuses(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        write_checkpoint(models / "mine")
        monkeypatch.setattr(store.shutil, "rmtree", refused)
        with pytest.raises(StorageError, match="cannot remove .*mine.*denied"):
            remove(get("mine", models), models)
        with (
            pytest.raises(StorageError, match="cannot write .*lock"),
            store.locked(models / "mine", models / "gone"),
        ):
            pass

    def test_not_while_it_is_pulled(self, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "LOCK_TIMEOUT_SECONDS", 0.05)
        folder = write_checkpoint(models / "mine")
        with (
            store.locked(folder, models),
            pytest.raises(StorageError, match="in use by another process"),
        ):
            remove(get("mine", models), models)
        assert folder.exists()


@pytest.mark.parametrize("name", PACKAGED)
def test_what_comes_with_the_package_has_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a folder is called so, which `./` names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert find(name, tmp_path) == packaged(name)
    assert find(f"./{name}", tmp_path).resolve() == (tmp_path / name).resolve()
