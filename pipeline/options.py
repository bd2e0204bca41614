"""Options that are said once: a field of a config says everything about the option that it is.

A field `min_face_px: Annotated[float, Option("smallest face", least=1)] = 20` is the option
`--min-face-px` of the command, the argument `min_face_px` of the library, a line in docs/cli.md and
an entry in the manifest of the run; help, unit, bounds and default stand there alone.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from pipeline.errors import ConfigError

Config = TypeVar("Config")
Function = TypeVar("Function", bound=Callable[..., Any])


def require(holds: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `holds`."""
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True)
class Option:
    """What a field says about itself, inside `Annotated`.

    Attributes:
        help: one clause, for the command and the docs.
        unit: what a value is, as the help shows it: PX, SECONDS, COSINE.
        name: of the option where it is not that of the field.
        least, most: bounds of a number, themselves allowed.
        above, below: bounds that are not.
        why: the reason of the bounds, where it is worth a word.
        none: number that stands for None.
        unset: what None does, in words.
        repeated: a list is given by repeating the option, else by commas.
        off: help of `--no-NAME`, for what is done unless it is switched off.
        group: heading in the help, where it is not that of the class.
    """

    help: str
    unit: str | tuple[str, ...] | None = None
    name: str | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    why: str = ""
    none: float | None = None
    unset: str = ""
    repeated: bool = False
    off: str = ""
    group: str | None = None

    def allows(self, value: float) -> bool:
        """Return whether a number lies within the bounds; NaN does not."""
        low = self.least if self.least is not None else self.above
        high = self.most if self.most is not None else self.below
        return not (
            (low is not None and not (value > low or (value == low and self.above is None)))
            or (high is not None and not (value < high or (value == high and self.below is None)))
        )

    def rule(self) -> str:
        """Return the bounds in words."""
        low = self.least if self.least is not None else self.above
        high = self.most if self.most is not None else self.below
        if high is None:
            more = "more than " if self.above is not None else ""
            text = f"give {more}{_number(low)}" + ("" if more else " or more")
        elif self.above is not None and self.below is None:
            text = f"give more than {_number(low)}, at most {_number(high)}"
        else:
            text = f"it must lie between {_number(low)} and {_number(high)}"
        return f"{text}: {self.why}" if self.why else text


def _number(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True)
class Setting:
    """One option of a job.

    Attributes:
        name: of the argument in Python; the command's is the same with dashes.
        path: names of the fields that lead to it.
        kind: its type.
        default: None for an option that has no other.
        group: heading in the help.
    """

    name: str
    path: tuple[str, ...]
    kind: Any
    option: Option
    default: Any
    group: str | None

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The texts that are allowed, None where any is."""
        kinds = [self.kind, *get_args(self.kind)]
        return next((get_args(one) for one in kinds if get_origin(one) is Literal), None)

    def in_words(self) -> str:
        """Return what it means, with its unit and default."""
        unit = self.option.unit
        text = self.option.help + (f", {unit}" if isinstance(unit, str) and len(unit) > 1 else "")
        default = self.option.unset if self.default is None else self.default
        return text if default in ("", None, ()) else f"{text}; default: {default}"

    @property
    def optional(self) -> bool:
        """Whether it may be None."""
        return type(None) in get_args(self.kind)

    @property
    def base(self) -> Any:
        """Its type without None."""
        return next((one for one in get_args(self.kind) if one is not type(None)), self.kind) if (
            self.optional
        ) else self.kind  # fmt: skip


def settings(config: Any) -> tuple[Setting, ...]:
    """Return the options of a config, those of the configs inside it included, in their order."""
    return tuple(_settings(config, (), None))


def _settings(config: Any, path: tuple[str, ...], group: str | None) -> Iterator[Setting]:
    hints = get_type_hints(config, include_extras=True)
    for one in fields(config):
        kind, *extras = get_args(hints[one.name]) if _is_annotated(hints[one.name]) else [None]
        for extra in extras:
            if isinstance(extra, Option):
                default = one.default if one.default is not MISSING else _made(one)
                name = extra.name or one.name
                heading = extra.group or group
                yield Setting(name, (*path, one.name), kind, extra, default, heading)
            elif isinstance(extra, str):  # the heading of a config inside
                yield from _settings(kind, (*path, one.name), extra)


def _is_annotated(hint: Any) -> bool:
    return get_origin(hint) is Annotated


def _made(one: Any) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else None


def default_of(config: Any, name: str) -> Any:
    """Return the default of an option, by its name."""
    return next(one.default for one in settings(config) if one.name == name)


def check_bounds(config: Any) -> None:
    """Check every field of a config against what its option allows.

    Raises:
        ConfigError: a value is out of its bounds, or not among the choices.
    """
    for one in settings(type(config)):
        if len(one.path) > 1:
            continue  # that config has checked its own
        (name,) = one.path
        value = getattr(config, name)
        if value is None and one.optional:
            continue
        name = name if name == one.name else f"{one.name} ({name})"
        if one.choices is not None:
            require(value in one.choices, f"{name} is {value!r}; choose from "
                    f"{', '.join(one.choices)}")  # fmt: skip
        elif isinstance(value, int | float) and not isinstance(value, bool):
            require(one.option.allows(value), f"{name} is {value}; {one.option.rule()}")


def build(config: type[Config], values: Mapping[str, Any], **given: Any) -> Config:
    """Return a config from options by their names, and fields of the outermost one as `given`.

    Raises:
        ConfigError: no such option, or a value that is not allowed.
    """
    known = {one.name: one for one in settings(config)}
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(known)}"
            raise ConfigError(f"There is no option {name}{hint}")
    tree: dict[str, Any] = dict(given)
    for name, value in values.items():
        *inside, last = known[name].path
        node = tree
        for step in inside:
            node = node.setdefault(step, {})
        is_none = known[name].option.none is not None and value == known[name].option.none
        node[last] = None if is_none else tuple(value) if isinstance(value, list) else value
    return _build(config, tree)


def _build(config: type[Config], tree: dict[str, Any]) -> Config:
    hints = get_type_hints(config)
    return config(**{
        name: _build(hints[name], value) if isinstance(value, dict) and _is_config(hints[name])
        else value for name, value in tree.items()
    })  # fmt: skip


def _is_config(kind: Any) -> bool:
    return hasattr(kind, "__dataclass_fields__")


def takes(*configs: type) -> Callable[[Function], Function]:
    """Show the options of configs as keyword arguments of a function that takes `**options`.

    They come into its signature, which notebooks complete, and into its documentation.
    """

    def dress(function: Function) -> Function:
        shown = [one for config in configs for one in settings(config)]
        signature = inspect.signature(function)
        fixed = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        more = [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.kind
            )
            for one in shown
        ]
        function.__signature__ = signature.replace(parameters=fixed + more)  # type: ignore[attr-defined]  # what inspect looks for
        lines = [f"    {one.name}: {one.in_words()}." for one in shown]
        about = inspect.cleandoc(function.__doc__ or "")
        function.__doc__ = "\n".join([about, "", "Options:", *lines])
        return function

    return dress
