"""A device that says it is ``cuda:0`` and computes on the CPU.

`simulate()` makes torch report one GPU. A tensor on it is a `GpuTensor`, a wrapper around a
CPU tensor which holds the values. The simulated device refuses what a GPU refuses: operands on two
devices, ``.numpy()``, collectives of CPU tensors (`simulated_gpu.nccl`). It counts what a GPU makes
slow, by the line of vidssl that asks for it: see `simulated_gpu.counts`.

For C++ the tensors are on the device type that torch keeps for third parties (PrivateUse1), so that
its dispatcher, its autograd engine and its own factories treat them as tensors of an accelerator.
A function mode reads ``cuda`` as that device wherever Python names it.

It refuses a tensor that another stream has made and nobody waited for (`simulated_gpu.streams`).

It does not show the rounding of CUDA kernels, their determinism, memory, or anything that
``torch.compile`` does.

Import this module before the first backward pass of the process: autograd starts one thread for
each device when it is first used.
"""

from __future__ import annotations

import contextlib
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.optim import optimizer
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils, backend_registration

from simulated_gpu.counts import Counts, calling_line
from simulated_gpu.streams import Event, Stream, Streams

CLAIMED = torch.device("cuda", 0)
"""What Python sees."""
NAME = "simulated"


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    """Tells C++ whether there is a device, so that tests without it see none."""

    def is_available(self) -> bool:
        return _active is not None

    def has_primary_context(self, _: int) -> bool:
        return _active is not None

    def is_built(self) -> bool:
        return True


class _Module(backend_registration._DummyBackendModule):
    """What ``torch.simulated`` is."""

    def is_available(self) -> bool:
        return _active is not None

    def device_count(self) -> int:
        return int(_active is not None)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_active: _Gpu | None = None
backend_registration._setup_privateuseone_for_python_backend(
    NAME, backend_module=_Module(), hook=_Hooks()
)
DEVICE = torch.device(NAME, 0)
"""What C++ sees."""


class GpuTensor(torch.Tensor):
    """A tensor on the simulated GPU."""

    held: Tensor
    """Its values, on the CPU."""
    made: Event
    """By which stream, and when."""

    @staticmethod
    def __new__(cls, held: Tensor) -> GpuTensor:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
        )
        self.held = held
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CLAIMED)
    is_cuda = property(lambda self: True)

    def record_stream(self, stream: Stream) -> None:
        """Keep the memory until the stream has done what it was asked for; there is enough."""

    def __repr__(self, **_: Any) -> str:
        return f"tensor({self.held.tolist()}, device='cuda:0', dtype={self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func, _, args=(), kwargs=None):
        return _compute(func, args, kwargs or {})


def _map(change: Callable[[Any], Any], x: Any) -> Any:
    """Change every leaf of arguments or results, faster than torch's pytrees do."""
    if isinstance(x, (tuple, list)):
        return type(x)([_map(change, part) for part in x])
    if isinstance(x, dict):
        return {key: _map(change, part) for key, part in x.items()}
    return change(x)


def _tensors(x: Any) -> Iterator[Tensor]:
    """Yield the tensors among arguments."""
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, (tuple, list)):
        for part in x:
            yield from _tensors(part)
    elif isinstance(x, dict):
        yield from _tensors([*x.values()])


def _compute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry out an operation on the CPU: check devices, count, unwrap, compute, wrap."""
    assert _active is not None, "a tensor of the simulated GPU outlived it"
    name = func._schema.name.partition("::")[2]
    _check_devices(func, name, args, kwargs)
    _count(_active, func, name, args, kwargs)
    made = _active.streams.ask([x.made for x in _tensors((args, kwargs)) if hasattr(x, "made")])
    wrappers: dict[int, GpuTensor] = {}

    def unwrapped(x: Any) -> Any:
        if isinstance(x, GpuTensor):
            wrappers[id(x.held)] = x
            return x.held
        return torch.device("cpu") if x == DEVICE and isinstance(x, torch.device) else x

    def wrapped(x: Any) -> Any:
        if isinstance(x, Tensor) and not isinstance(x, GpuTensor):
            x = wrappers[id(x)] if id(x) in wrappers else GpuTensor(x)
            x.made = made
        return x

    kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    result = _on_cpu(func, name, *_map(unwrapped, (args, kwargs)))
    on_cpu = kwargs.get("device") == torch.device("cpu") or (
        name == "copy_" and not isinstance(args[0], GpuTensor)
    )
    return result if on_cpu else _map(wrapped, result)


def _on_cpu(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute; convolutions in float32, for oneDNN's bf16 gradients of short clips are wrong."""
    reduced = args[0].dtype if name.startswith("convolution") else None
    if reduced not in (torch.bfloat16, torch.float16):
        return func(*args, **kwargs)

    def cast(dtype: torch.dtype) -> Callable[[Any], Any]:
        return lambda x: x.to(dtype) if isinstance(x, Tensor) else x

    return _map(cast(reduced), func(*_map(cast(torch.float32), args), **kwargs))


CONVERSIONS = {"_to_copy", "to"}
"""The second one is that of tensors which were made in inference mode."""
COPIES = {"copy_", *CONVERSIONS}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
SCALARS = {"fill_", "fill", "masked_fill", "masked_fill_", "where", "index_fill", "index_fill_"}
"""Take a CPU tensor of no dimension as a number; so do pointwise operations."""


def _check_devices(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse operands on two devices, as CUDA does.

    Raises:
        RuntimeError: in the words of torch.
    """
    tensors = [*_tensors((args, kwargs))]
    there = [x for x in tensors if not isinstance(x, GpuTensor)]
    if not there or len(there) == len(tensors) or name in COPIES:
        return
    if name in INDEXING and isinstance(args[0], GpuTensor):
        there = [x for x in there if not any(x is index for index in args[1])]
    takes_numbers = torch.Tag.pointwise in func.tags or name in SCALARS | INDEXING
    if all(x.ndim == 0 for x in there) and (takes_numbers or name.startswith("_foreach")):
        return
    shapes = ", ".join(f"{x.device} {tuple(x.shape)}" for x in tensors)
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 "
        f"and cpu! (in {func}: {shapes})"
    )


ALLOCATIONS = {
    "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "set_", "resize_",
    "_reshape_alias", "_unsafe_view", "lift_fresh", "detach_",
}  # fmt: skip
WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim",
    "unique_consecutive", "unique_dim_consecutive", "bincount", "equal", "repeat_interleave",
    "_linalg_eigh", "_linalg_svd", "linalg_eig",
}  # fmt: skip
"""Their result, or its size, must be known on the host."""


def _count(gpu: _Gpu, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Count what an operation would cost."""
    counts = gpu.counts
    if name in COPIES and _crosses(name, args, kwargs):
        counts.add("copies")
        down = name in CONVERSIONS or not isinstance(args[0], GpuTensor)
        blocks = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        if blocks or not (down or gpu.is_pinned(args[1])):
            counts.add("waits", "copy to the host" if down else "copy from the host")
        return
    if name == "_local_scalar_dense":
        counts.add("copies")
    elif not func.is_view and name not in ALLOCATIONS:
        counts.add("launches")
    sized = name == "repeat_interleave" and kwargs.get("output_size") is not None
    if name in WAITING and not sized:
        counts.add("waits", name.strip("_"))
    if name in INDEXING:
        for index in args[1]:
            if index is not None and index.dtype in (torch.bool, torch.uint8):
                counts.add("waits", "index by a mask")
            elif index is not None and not isinstance(index, GpuTensor):
                counts.add("copies")
                counts.add("waits", "index on the host")


def _crosses(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name in CONVERSIONS:
        return kwargs.get("device") == torch.device("cpu")
    return isinstance(args[0], GpuTensor) != isinstance(args[1], GpuTensor)


_fallback = torch.library.Library("_", "IMPL")
_kernels = torch.library.Library("aten", "IMPL")
AUTOCAST = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d", "conv3d")


def _cast_and_call(operation: Any) -> Callable[..., Any]:
    """Return what autocast makes of an operation: the same in its dtype."""
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def call(*args: Any) -> Any:
        dtype = torch.get_autocast_dtype(NAME)

        def cast(x: Any) -> Any:
            floating = isinstance(x, GpuTensor) and x.is_floating_point()
            return x.to(dtype) if floating else x

        with torch._C._ExcludeDispatchKeyGuard(key):
            return operation(*_map(cast, args))

    return call


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    _fallback.fallback(lambda func, *args, **kwargs: _compute(func, args, kwargs), "PrivateUse1")
    _fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for _name in AUTOCAST:
        _operation = getattr(torch.ops.aten, _name).default
        _kernels.impl(_name, _cast_and_call(_operation), "AutocastPrivateUse1")


class _Gpu:
    """What is true while a GPU is simulated."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.streams = Streams()
        self._pinned: dict[int, Any] = {}

    def pin(self, tensor: Tensor) -> None:
        """Take a CPU tensor's memory as pinned, and keep it, so that no other gets its place."""
        storage = tensor.untyped_storage()
        self._pinned[storage.data_ptr()] = storage

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether the memory that a CPU tensor or view lies in is pinned."""
        return tensor.untyped_storage().data_ptr() in self._pinned


class _AsCuda(TorchFunctionMode):
    """Reads ``cuda`` as the simulated device, and does what never reaches the dispatcher."""

    def __init__(self, gpu: _Gpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, func, _, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.device:
            return func(*args, **kwargs)
        args = [*map(_translated, args)]
        kwargs = {key: _translated(value) for key, value in kwargs.items()}
        if func in FROM_DATA and kwargs.get("device") == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        if args and isinstance(args[0], GpuTensor):
            if func in (Tensor.numpy, Tensor.__array__):
                raise TypeError(NO_NUMPY)
            if func is Tensor.tolist:
                return args[0].cpu().tolist()
            if func is Tensor.new_tensor:
                return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
            if func in (Tensor.__getitem__, Tensor.__setitem__):
                args = (args[0], _with_tensors(args[1]), *args[2:])
        if func is Tensor.cuda:
            func, args = Tensor.to, (args[0], DEVICE)
        pinned = kwargs.pop("pin_memory", False) or func is Tensor.pin_memory
        result = func(*args, **kwargs) if func is not Tensor.pin_memory else args[0].clone()
        if pinned:
            self.gpu.pin(result)
        return result


NO_NUMPY = (
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
    "memory first."
)
FROM_DATA = (torch.tensor, torch.as_tensor, torch.asarray)
"""They bypass the dispatcher on their way to a device; the copy is made here instead."""


def _with_tensors(index: Any) -> Any:
    """Return an index with lists of numbers as tensors on the device, which torch makes of them."""
    if isinstance(index, list):
        return torch.tensor(index).to(DEVICE)
    return tuple(map(_with_tensors, index)) if isinstance(index, tuple) else index


def _translated(x: Any) -> Any:
    cuda = isinstance(x, torch.device) and x.type == "cuda"
    if cuda or (isinstance(x, str) and re.fullmatch(r"cuda(:0)?", x)):
        return DEVICE
    return x


class _Autocast(torch.autocast):
    """``torch.autocast`` that takes ``cuda`` for the simulated device."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(NAME if device_type == "cuda" else device_type, *args, **kwargs)


_make_generator = torch.Generator


class _Generator:
    """``torch.Generator`` whose numbers for the simulated device are those of the CPU."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return _make_generator("cpu" if _translated(device) == DEVICE else device)


@contextlib.contextmanager
def simulate(*, capability: tuple[int, int] = (6, 1)) -> Iterator[Counts]:
    """Let torch have one GPU; yield what is counted on it.

    Args:
        capability: compute capability; it multiplies bf16 from 8.0 on, and fp16 fast from 7.0 on.
    """
    global _active
    assert _active is None, "a GPU is simulated already"
    gpu = _Gpu()
    run, run_backward = threading.Thread.run, torch.autograd._engine_run_backward

    def run_in_mode(thread: threading.Thread) -> None:
        with _AsCuda(gpu):
            run(thread)

    def run_backward_in_mode(*args: Any, **kwargs: Any) -> Any:
        gpu.counts.backward = calling_line() or "elsewhere"
        with _AsCuda(gpu):  # the engine's threads are in the modes of the one that calls
            return run_backward(*args, **kwargs)

    def synchronize(*_: Any) -> None:
        gpu.counts.add("waits", "synchronize")

    cuda = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": synchronize,
        "Stream": gpu.streams.make,
        "stream": gpu.streams.use,
        "current_stream": gpu.streams.current,
        "max_memory_allocated": lambda *_: 0,
        "device": lambda _: contextlib.nullcontext(),
        "get_device_name": lambda *_: "simulated GPU",
        "get_device_capability": lambda *_: capability,
        "is_bf16_supported": lambda *_, **__: capability >= (8, 0),
    }
    patches = [mock.patch.object(torch.cuda, name, value) for name, value in cuda.items()]
    patches += [
        mock.patch.object(threading.Thread, "run", run_in_mode),
        mock.patch.object(torch.autograd, "_engine_run_backward", run_backward_in_mode),
        mock.patch.object(torch, "autocast", _Autocast),
        mock.patch.object(torch, "Generator", _Generator),
        # One kernel for all tensors of an optimizer, as on a GPU.
        *(
            mock.patch.object(module, "_foreach_supported_types", [Tensor, nn.Parameter, GpuTensor])
            for module in (optimizer, _foreach_utils)
            if hasattr(module, "_foreach_supported_types")
        ),
    ]
    swap = torch.__future__.get_swap_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        # A parameter that moves to the device stays the same object, as on a GPU.
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swap)
        stack.enter_context(_AsCuda(gpu))
        _active = gpu
        try:
            yield gpu.counts
        finally:
            _active = None
