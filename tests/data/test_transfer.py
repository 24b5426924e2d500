import numpy as np
import pytest
import torch

from simulated_gpu.device import simulate
from simulated_gpu.streams import RACE
from vidssl_cli.contract.clips import Batch
from vidssl_cli.data.transfer import SideStream, send, send_frames

ARRAYS = [
    np.arange(3, dtype=np.int64),
    np.array(2.5, np.float32),
    np.zeros((0, 4), np.float32),
    np.array([[True], [False]]),
    np.arange(12, dtype=np.float64).reshape(3, 4).T,
]
GPU, CPU = torch.device("cuda"), torch.device("cpu")


def test_arrays_arrive_in_one_copy_that_nobody_waits_for():
    with simulate() as counts:
        sent = send(ARRAYS, GPU)
        assert [counts.total(kind) for kind in ("copies", "waits")] == [1, 0]
        for tensor, array in zip(sent, ARRAYS, strict=True):
            assert tensor.device.type == "cuda"
            back = tensor.cpu().numpy()
            assert back.dtype == array.dtype
            np.testing.assert_array_equal(back, array)


def test_a_cpu_needs_no_copy():
    sent = send(ARRAYS, CPU)
    assert [tensor.dtype for tensor in sent] == [torch.from_numpy(array).dtype for array in ARRAYS]
    assert np.shares_memory(sent[0].numpy(), ARRAYS[0])


def test_frames_of_different_sizes_arrive_together():
    clips = [torch.full((2, 3, 1, 4, 5), 7), torch.full((1, 3, 1, 6, 2), 9)]
    with simulate() as counts:
        sent = send_frames(clips, GPU)
        assert [counts.total(kind) for kind in ("copies", "waits")] == [1, 0]
        sent = sent.cpu()
    assert sent.shape == (3, 3, 1, 6, 5)
    assert (sent[:2, ..., :4, :] == 7).all()
    assert (sent[2, ..., :2] == 9).all()
    assert sent.sum() == sum(clip.sum() for clip in clips)


def batch(device):
    one = torch.ones(1, device=device)
    return Batch(one * 2, {"label": one * 3}, one * 4, one * 5)


def test_who_uses_a_batch_has_its_stream_wait_for_it():
    with simulate():
        arrive = SideStream(GPU).make(lambda: batch("cuda"))
        assert arrive().labels["label"].add(1).item() == 4


def test_a_batch_that_was_not_waited_for_is_refused():
    made = []
    with simulate():
        SideStream(GPU).make(lambda: made.append(batch("cuda")) or made[0])
        with pytest.raises(RuntimeError, match=RACE):
            made[0].clips.add(1)


def test_a_cpu_has_no_streams():
    assert SideStream(CPU).make(lambda: batch("cpu"))().clips == 2
