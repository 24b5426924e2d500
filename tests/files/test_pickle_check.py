"""A file of weights is held to what a state dict needs before torch sees it."""

import os
import pickle
import zipfile

import pytest
import torch

from vidssl_cli.files.pickle_check import check_weights


class Calls:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("new", [True, False], ids=["archive", "of old"])
def test_state_dicts_pass(new, tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.BatchNorm3d(4))
    weights = network.state_dict()
    weights["parameter"] = torch.nn.Parameter(torch.ones(3))
    weights["turned"] = torch.ones(2, 3).t()
    for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool):
        weights[str(kind)] = torch.ones(3).to(kind)
    torch.save(weights, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    check_weights(tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", weights_only=True).keys() == weights.keys()


@pytest.mark.parametrize("new", [True, False], ids=["archive", "of old"])
@pytest.mark.parametrize(
    ("call", "name"), [((os.system, "true"), "system"), ((bytearray, 1 << 40), "bytearray")]
)
def test_what_a_state_dict_does_not_need_is_named(new, call, name, tmp_path):
    torch.save({"a": Calls(*call)}, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=rf"names \w+\.{name}, which no state dict needs"):
        check_weights(tmp_path / "a.pt")


def test_what_is_no_pickle_at_all_is_refused(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="bytes"):
        check_weights(tmp_path / "a.pt")


def test_archives_do_not_unpack_to_more_than_they_are(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(1000))
    with pytest.raises(ValueError, match="compressed"):
        check_weights(tmp_path / "a.pt")
