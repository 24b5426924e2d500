"""What a GPU's errors mean: one line and a hint for those that a user can do something about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.errors import VidsslError

if TYPE_CHECKING:
    from vidssl_cli.config.sections import Train


@contextmanager
def explain_gpu_errors(settings: Train, device: torch.device) -> Iterator[None]:
    """Turn torch's errors about a GPU into ones that say what to change.

    Raises:
        VidsslError: its memory is too small, torch was not built for it, or it cannot compute
            something the same way each time.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise VidsslError(
            f"the memory of {device} is too small: {_first_sentences(error)}",
            hint=f"lower train.batch_videos ({settings.batch_videos}), or raise train.accumulate "
            f"({settings.accumulate}): parts of a batch then pass through the network one by one",
        ) from error
    except RuntimeError as error:
        text = str(error)
        if "no kernel image is available" in text:
            name = torch.cuda.get_device_name(device)
            capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
            raise VidsslError(
                f"torch {torch.__version__} was not built for {device}, a {name} of compute "
                f"capability {capability}",
                hint="install a build of torch that supports it, or give --device cpu",
            ) from error
        if "does not have a deterministic implementation" in text:
            raise VidsslError(
                f"train.deterministic: {_first_sentences(error)}",
                hint="set train.deterministic to false, or choose another backbone",
            ) from error
        raise


def _first_sentences(error: Exception) -> str:
    """Return the beginning of an error of torch, whose rest gives advice to programmers."""
    text = " ".join(str(error).split())
    for advice in (" If reserved but", ". You can turn", ", but you set", " Including non-PyTorch"):
        text = text.partition(advice)[0]
    return text.removesuffix(".")
