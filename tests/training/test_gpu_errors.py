import pytest
import torch

from simulated_gpu.device import simulate
from vidssl_cli.base.errors import VidsslError
from vidssl_cli.config.sections import Train
from vidssl_cli.training.gpu_errors import explain_gpu_errors

GPU = torch.device("cuda", 0)
TRAIN = Train(epochs=1, batch_videos=64, accumulate=4, optimizer={"name": "sgd", "lr": 1.0})
NO_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.78 GiB of "
    "which 1.20 GiB is free. Including non-PyTorch memory, this process has 14.58 GiB memory in "
    "use. If reserved but unallocated memory is large try setting PYTORCH_ALLOC_CONF"
)
NO_KERNEL = (
    "CUDA error: no kernel image is available for execution on the device\n"
    "Search for `cudaErrorNoKernelImageForDevice'"
)
NOT_DETERMINISTIC = (
    "max_pool3d_with_indices_backward_cuda does not have a deterministic implementation, but you "
    "set 'torch.use_deterministic_algorithms(True)'. You can turn off determinism"
)


@pytest.mark.parametrize(
    ("error", "told", "hint"),
    [
        (
            torch.OutOfMemoryError(NO_MEMORY),
            "the memory of cuda:0 is too small: CUDA out of memory. Tried to allocate 2.00 GiB. "
            "GPU 0 has a total capacity of 15.78 GiB of which 1.20 GiB is free",
            "lower train.batch_videos (64), or raise train.accumulate (4)",
        ),
        (
            RuntimeError(NO_KERNEL),
            "was not built for cuda:0, a simulated GPU of compute capability 5.2",
            "install a build of torch that supports it",
        ),
        (
            RuntimeError(NOT_DETERMINISTIC),
            "train.deterministic: max_pool3d_with_indices_backward_cuda does not have a "
            "deterministic implementation",
            "set train.deterministic to false",
        ),
    ],
)
def test_an_error_says_what_to_change(error, told, hint):
    with (
        simulate(capability=(5, 2)),
        pytest.raises(VidsslError) as caught,
        explain_gpu_errors(TRAIN, GPU),
    ):
        raise error
    assert str(caught.value).endswith(told)
    assert "\n" not in str(caught.value)
    assert caught.value.hint.startswith(hint)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="another"), explain_gpu_errors(TRAIN, GPU):
        raise RuntimeError("another error")
