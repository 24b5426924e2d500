"""The built-in loggers."""

from __future__ import annotations

from vidssl_cli.contract.hooks import LoggerOptions, hookimpl
from vidssl_plugins.loggers.options.mlflow import MLflow
from vidssl_plugins.loggers.options.tensorboard import TensorBoard
from vidssl_plugins.loggers.options.wandb import WandB


@hookimpl
def vidssl_loggers() -> list[type[LoggerOptions]]:
    """Offer the built-in loggers."""
    return [TensorBoard, WandB, MLflow]
