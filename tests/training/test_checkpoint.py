"""Checkpoints come back bit for bit, or are refused."""

import pickle
import resource
import shutil
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from vidssl_cli.base.errors import DamagedFileError, NoRoomError
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import point
from vidssl_cli.files.sealed_folder import publish
from vidssl_cli.model.weights import SizeLimit, load_weights, read_newest, read_tensors
from vidssl_cli.training.checkpoint import require_room_for, restore, save, tidy
from vidssl_cli.training.run_progress import Progress


def trained(kind="adamw", seed=0):
    """A small network and its optimizer after two steps."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Flatten(0))
    model.to(memory_format=torch.channels_last_3d)
    optimizers = {
        "adamw": lambda: torch.optim.AdamW(model.parameters(), lr=0.1),
        "sgd": lambda: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "plain": lambda: torch.optim.SGD(model.parameters(), lr=0.1),
    }
    optimizer = optimizers[kind]()
    for _ in range(2):
        step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    clips = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(1))
    optimizer.zero_grad()
    model(clips).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", ["adamw", "sgd", "plain"])
def test_going_on_from_a_checkpoint_is_going_on(kind, tmp_path):
    model, optimizer = trained(kind)
    progress = Progress(2, 3, 23, {"loss": 0.1 + 0.2}, 0.7)
    folder = save(tmp_path, model, optimizer, progress, best=False)
    again, again_optimizer = trained(kind, seed=5)
    again_optimizer.state.clear()
    assert restore(folder, again, again_optimizer) == progress
    for pair in ((model, optimizer), (again, again_optimizer)):
        step(*pair)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_pickle_with_the_right_digest_is_refused(name, tmp_path):
    model, optimizer = trained()
    folder = save(tmp_path, model, optimizer, Progress(), best=False)
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    files[name] = pickle.dumps({"epoch": 1})
    del files["manifest.json"]

    def write(draft):
        for name, content in files.items():
            (draft / name).write_bytes(content)

    publish(folder, write)
    with pytest.raises(DamagedFileError, match="is not what vidssl writes"):
        restore(folder, *trained())


def test_a_network_is_not_much_larger_than_its_weights(tmp_path):
    model, _ = trained()
    with SizeLimit(model.state_dict(), tmp_path):
        nn.Conv3d(3, 4, 3)
    with (
        pytest.raises(DamagedFileError, match="much larger than its weights"),
        SizeLimit(model.state_dict(), tmp_path),
    ):
        nn.Linear(10**8, 10**8)


def test_last_and_best_are_kept_and_nothing_else(tmp_path):
    model, optimizer = trained()
    for number in range(1, 5):
        save(tmp_path, model, optimizer, Progress(step=number), best=number == 2)
    found = {path.name for path in tmp_path.glob("epoch-*")}
    assert found == {"epoch-0000-step-00000002", "epoch-0000-step-00000004"}
    assert (tmp_path / "best").resolve().name.endswith("2")
    assert (tmp_path / "last").resolve().name.endswith("4")


def test_what_a_killed_process_left_undone_is_made_up_for(tmp_path):
    model, optimizer = trained()
    progress = Progress()
    first = save(tmp_path, model, optimizer, progress, best=True)
    progress.step = 1
    second = save(tmp_path, model, optimizer, progress, best=True)
    assert not first.exists()
    # As after a kill behind the link `last`: neither is the other link there, nor anything deleted.
    progress.step = 2
    save(tmp_path, model, optimizer, progress, best=False)
    point(tmp_path / "best", "epoch-0000-step-00000002")
    (tmp_path / "epoch-0000-step-00000003").mkdir()
    found = restore((tmp_path / "last").resolve(), model, optimizer)
    tidy(tmp_path, found)
    assert (tmp_path / "best").resolve() == second
    assert {path.name for path in tmp_path.iterdir()} == {
        "last", "best", second.name, "epoch-0000-step-00000002"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_one_changed_byte_is_refused(name, tmp_path):
    model, optimizer = trained()
    folder = save(tmp_path, model, optimizer, Progress(), best=False)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedFileError) as refused:
        restore(folder, model, optimizer)
    assert name in str(refused.value.where)


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    model, _ = trained()
    other = nn.Sequential(nn.Conv3d(3, 8, 3, padding=1), nn.BatchNorm3d(8), nn.Flatten(0))
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(DamagedFileError, match=r"0\.weight is \(4, 3, 3, 3, 3\), not \(8, 3"):
        load_weights(other, model.state_dict(), tmp_path)
    with pytest.raises(DamagedFileError, match=r"1\.bias is missing"):
        load_weights(model, {"0.weight": model[0].weight}, tmp_path)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(tmp_path):
    model, optimizer = trained()
    kept = save(tmp_path, model, optimizer, Progress(), best=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(NoRoomError, match=r"too large: at least [\d,]+ bytes are needed"):
            save(tmp_path, model, optimizer, Progress(step=1), best=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, "last"]
    restore(tmp_path / "last", model, optimizer)


@pytest.mark.parametrize("gone", [False, True])
def test_a_checkpoint_can_be_read_while_its_run_goes_on(gone, tmp_path):
    (tmp_path / "run.json").write_bytes(sealed_json.render({"state": "running"}))
    model, optimizer = trained()
    checkpoints = tmp_path / "checkpoints"
    first = save(checkpoints, model, optimizer, Progress(step=1), best=True)

    def read(folder):
        if folder == first:
            for step in (2, 3):
                save(checkpoints, model, optimizer, Progress(step=step), best=True)
            if gone:  # as on a file system without locks
                shutil.rmtree(first)
        return read_tensors(folder)

    folder, tensors = read_newest(tmp_path, "last", read)
    assert folder.name.endswith("3" if gone else "1")
    assert tensors.keys() == model.state_dict().keys()


@pytest.mark.parametrize("kind", ["adamw", "sgd", "plain"])
def test_too_small_a_disk_is_refused_before_training(kind, tmp_path, monkeypatch):
    model, optimizer = trained(kind)
    saved = save(tmp_path, model, optimizer, Progress(), best=True)
    size = sum(file.stat().st_size for file in saved.glob("*.safetensors"))
    for path in tmp_path.iterdir():
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    usage = shutil.disk_usage(tmp_path)
    for free, refused in ((3 * size, False), (size, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: usage._replace(free=free))
        with pytest.raises(NoRoomError, match="a new one") if refused else nullcontext():
            require_room_for(tmp_path, model, optimizer)
