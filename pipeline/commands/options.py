"""Options of commands; most are made from the fields of configs."""

import argparse
from typing import Any, TypeVar, get_args, get_origin

from pipeline.config import IndexConfig
from pipeline.library import Lake
from pipeline.models.weights.store import WeightStore
from pipeline.options import Setting, build, settings
from pipeline.storage.folder import parse_options

Config = TypeVar("Config")


def add_config_options(parser: argparse.ArgumentParser, config: type) -> None:
    """Add an option for each field of a config that says so; `config_of` reads them."""
    groups: dict[str, Any] = {}
    for setting in settings(config):
        group = setting.group
        if group is not None and group not in groups:
            groups[group] = parser.add_argument_group(group)
        _add(groups.get(group or "", parser), setting)


def _add(parser: Any, one: Setting) -> None:
    flag, about = f"--{one.name.replace('_', '-')}", one.option.help
    if one.base is bool and one.default:
        parser.add_argument(
            flag.replace("--", "--no-"), dest=one.name, action="store_false", help=one.option.off
        )
        return
    if one.base is bool:
        parser.add_argument(flag, action="store_true", help=about)
        return
    more: dict[str, Any] = {"default": one.default, "choices": one.choices}
    default = one.option.unset if one.default is None else one.default
    if get_origin(one.base) is tuple:
        kinds = get_args(one.base)
        if kinds[-1] is not ...:
            more |= {"type": kinds[0], "nargs": len(kinds)}
            default = " ".join(map(str, one.default))
        elif one.option.repeated:
            more |= {"action": "append", "default": [], "choices": None}
        else:
            more["type"] = comma_separated
            default = ",".join(one.default)
    elif one.choices is None:
        more["type"] = one.base
    if default not in ("", None, ()):
        about += f"; default: {default}"
    parser.add_argument(flag, metavar=one.option.unit, help=about, **_without_none(more))


def _without_none(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def comma_separated(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas."""
    return tuple(filter(None, text.replace(" ", "").split(",")))


def config_of(config: type[Config], options: argparse.Namespace, **fixed: Any) -> Config:
    """Return the checked config that the options ask for.

    Raises:
        ConfigError: an option out of its range.
    """
    return build(config, values_of(config, options), **fixed)


def values_of(config: type, options: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the options by the names of the config's fields."""
    return {one.name: getattr(options, one.name) for one in settings(config)}


def add_lake(parser: Any) -> None:
    """Add the lake that a command is about."""
    parser.add_argument("lake", metavar="LAKE", help="path or URL of the lake")


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the inputs."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="folder, glob, image, .tar, .zip or .parquet shard, or .txt list of paths; local "
        "or any fsspec URL such as s3://bucket/photos",
    )


def add_storage_options(
    parser: Any, what: str = "for the storage back end; may be repeated"
) -> None:
    """Add `--storage-option`, which `parse_options` reads."""
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="KEY=VALUE", help=what
    )


def add_weights_options(parser: Any) -> None:
    """Add the options of `index` that say where weights are, and which may be used."""
    for one in settings(IndexConfig):
        if one.name in ("weights_dir", "weights_url", "licences"):
            _add(parser, one)


def weight_store(options: argparse.Namespace) -> WeightStore:
    """Return the store that `add_weights_options` names."""
    return WeightStore.at(options.weights_dir, options.weights_url, options.licences)


def add_wait_option(parser: Any) -> None:
    """Add `--wait`, for `RunLock`."""
    parser.add_argument("--wait", action="store_true", help="wait for another run on the lake")


def add_task_options(parser: Any, rows_for_ray: int | None, of_what: str) -> None:
    """Add the options that say where tasks run, and whether to wait for other runs.

    Args:
        parser: of the command.
        rows_for_ray: from so many on a cluster is worth its start; None: `of_what` says when.
        of_what: what they are.
    """
    enough = of_what if rows_for_ray is None else f"from {rows_for_ray:,} {of_what} on"
    add_wait_option(parser)
    parser.add_argument("--verbose", action="store_true", help="log what is going on")
    parser.add_argument(
        "--ray", choices=("auto", "always", "never"), default="auto",
        help="whether tasks run on a Ray cluster; auto: on the one that RAY_ADDRESS names, else "
        f"on this machine's cores {enough}; default: %(default)s",
    )  # fmt: skip
    add_storage_options(parser)


def open_lake(options: argparse.Namespace) -> Lake:
    """Return the lake that the options name, with the embedder and weights that they name.

    Raises:
        ConfigError: there is none.
        StorageError: its storage does not answer.
    """
    more = {name: getattr(options, name, None)
            for name in ("embedder", "weights_dir", "weights_url", "licences")}  # fmt: skip
    return Lake(options.lake, storage_of(options), **more)


def add_own_embedder_options(parser: Any) -> None:
    """Add the options for embedding photos with the lake's own model."""
    add_own_embedder(parser)
    add_storage_options(parser)


def add_own_embedder(parser: Any) -> None:
    """Add the options that say where the lake's own model is."""
    parser.add_argument(
        "--embedder",
        metavar="PATH",
        help="ONNX file or card of the lake's embedder, if Facelake does not know it by name",
    )
    add_weights_options(parser)


def storage_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the storage options that `--storage-option` gives."""
    return parse_options(options.storage_option)
