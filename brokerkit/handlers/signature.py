"""A function's parameters as a wire format: a map of parameter name to value, bound and checked at send."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NotRequired, Required, TypedDict

from brokerkit.codec import Decoder, Limits, encode
from brokerkit.errors import ConfigurationError, DecodeError, EncodeError
from brokerkit.handlers.annotations import hints_of, where_is
from brokerkit.handlers.dependencies import BY_KEYWORD, Dependency, dependency_of


def unwrap_return(annotation: Any) -> Any:
    """The type of ``result()``: what an async function's coroutine returns, ``Any`` without an annotation."""
    if annotation is inspect.Signature.empty:
        return Any
    if typing.get_origin(annotation) in (Coroutine, typing.get_origin(typing.Coroutine[Any, Any, Any])):
        return typing.get_args(annotation)[2]
    return annotation


class Signature:
    """How a function is called over the wire; made once, at registration.

    Args:
        function: A task's function or a subscriber.
        context_type: The class whose instances are injected as the first parameter.
        typed_sends: Senders see the parameters, as those of a task do: what is injected needs a default then.

    Attributes:
        takes_context: The first parameter is a context.
        dependencies: What is injected, by parameter.
        is_async: The function is a coroutine function.
        returns: The annotation of its result.
        names: Names of the parameters that travel, in order.
        defaults: What those have that were left out.

    Raises:
        ConfigurationError: A parameter cannot travel, an annotation cannot be resolved, or it is a generator function.
    """

    def __init__(self, function: Callable[..., Any], context_type: type, *, typed_sends: bool = True) -> None:
        self.where = where_is(function)
        self.is_async = inspect.iscoroutinefunction(function)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"{self.where} is a generator function: calling it runs nothing; use return")
        hints = hints_of(function)
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())
        if parameters and _is_method(function, parameters[0]):
            raise ConfigurationError(
                f"{self.where} is a method, and its {parameters[0].name} cannot travel: decorate a function, or "
                f"take the method of an instance, as app.task(shop.charge)"
            )
        self.takes_context = bool(parameters) and hints.get(parameters[0].name) is context_type
        self.dependencies = self._injected(parameters, hints, typed_sends)
        rest = parameters[1:] if self.takes_context else parameters
        self._parameters = [parameter for parameter in rest if parameter.name not in self.dependencies]
        for parameter in self._parameters:
            self._check(parameter, hints, context_type)
        self._signature = signature.replace(parameters=self._parameters)
        self.names = tuple(parameter.name for parameter in self._parameters)
        self._positional = tuple(p.name for p in self._parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        self.defaults = {p.name: p.default for p in self._parameters if p.default is not p.empty}
        self._required = frozenset(self.names) - self.defaults.keys()
        found = {p.name: hints.get(p.name, Any) for p in self._parameters}
        self.annotations = {name: Any if hint is object else hint for name, hint in found.items()}
        self.returns = unwrap_return(hints.get("return", signature.return_annotation))

    def _injected(
        self, parameters: list[inspect.Parameter], hints: dict[str, Any], typed_sends: bool
    ) -> dict[str, Dependency]:
        """What does not travel. A sender's positional arguments must mean the same to a type checker and to us."""
        found: dict[str, Dependency] = {}
        for parameter in parameters:
            dependency = dependency_of(parameter, hints.get(parameter.name), self.where)
            if dependency is not None:
                found[parameter.name] = dependency
                if typed_sends and parameter.default is parameter.empty:
                    raise ConfigurationError(
                        f"{self.where}: type checkers would ask every sender for {parameter.name!r}; make it the "
                        f"default: {parameter.name} = {dependency!r}"
                    )
            elif found and typed_sends and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                raise ConfigurationError(
                    f"{self.where}: {parameter.name!r} travels, so it must come before {next(iter(found))!r}, which "
                    f"is injected, or after a `*`"
                )
        return found

    def _check(self, parameter: inspect.Parameter, hints: dict[str, Any], context_type: type) -> None:
        if parameter.kind not in BY_KEYWORD:
            raise ConfigurationError(
                f"{self.where}: parameter {parameter} cannot travel by name; "
                f"use parameters that can be passed by keyword"
            )
        hint = hints.get(parameter.name)
        if context_type in typing.get_args(hint):
            raise ConfigurationError(f"{self.where}: annotate {parameter.name!r} {context_type.__name__}, nothing more")
        if hint is context_type:
            raise ConfigurationError(f"{self.where}: the context {parameter.name!r} must be the first parameter")

    def arguments_type(self) -> Any:
        """The type a body is decoded into: a map with the required and the optional names."""
        fields = {
            name: (Required if name in self._required else NotRequired)[annotation]
            for name, annotation in self.annotations.items()
        }
        return TypedDict(f"{self.where} arguments", fields)  # type: ignore[operator]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name.

        Raises:
            TypeError: They do not fit, in the words of an ordinary call.
        """
        bound = dict(zip(self._positional, args, strict=False))
        if len(args) <= len(self._positional) and not (kwargs and bound.keys() & kwargs.keys()):
            bound.update(kwargs)
            if self._required <= bound.keys() <= self.annotations.keys():
                return bound
        if injected := self.dependencies.keys() & kwargs.keys():
            raise TypeError(
                f"{self.where}: {', '.join(sorted(injected))} is injected by the worker and does not travel"
            )
        try:
            return self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self.where}: {error}") from None


def _is_method(function: Callable[..., Any], first: inspect.Parameter) -> bool:
    """A function in the body of a class, with a parameter for the instance."""
    within = getattr(function, "__qualname__", "").rpartition(".")[0]
    in_class = bool(within) and not within.endswith("<locals>")
    return inspect.isfunction(function) and in_class and first.name in ("self", "cls")


class Parameters:
    """Encodes and decodes the arguments of one function.

    Args:
        signature: The function's signature.
        limits: What is refused.

    Raises:
        ConfigurationError: An annotation has no representation on the wire.
    """

    def __init__(self, signature: Signature, limits: Limits) -> None:
        self._signature = signature
        self._limits = limits
        self.names = frozenset(signature.names)
        try:
            self._decoder: Decoder[dict[str, Any]] = Decoder(signature.arguments_type(), limits)
        except TypeError as error:
            raise ConfigurationError(f"{signature.where}: {error}") from error
        self.decode = self._decoder.decode

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any], content_type: str) -> bytes:
        """Bind, encode, and check that the receiver's annotations will take it.

        Raises:
            TypeError: The arguments do not fit the signature.
            EncodeError: A value has no representation or does not fit its annotation, or all together are too
                large or too deep.
        """
        arguments = self._signature.bind(args, kwargs)
        try:
            body = encode(arguments, content_type)
        except EncodeError as error:
            raise self._unencodable(arguments, content_type, error) from error
        if len(body) > self._limits.body:
            raise EncodeError(
                f"arguments of {self._signature.where}: {len(body)} bytes are over the limit of {self._limits.body}; "
                f"send a reference to them, or raise it with Settings(limits=Limits(body=…))"
            )
        try:
            self.decode(body, content_type)  # also refuses what is nested too deeply
        except DecodeError as error:
            raise EncodeError(f"arguments of {self._signature.where} do not fit: {error}") from error
        return body

    def _unencodable(self, arguments: Mapping[str, Any], content_type: str, error: EncodeError) -> EncodeError:
        """Names the argument that has no representation."""
        for name, value in arguments.items():
            try:
                encode(value, content_type)
            except EncodeError as own:
                return EncodeError(f"argument {name!r} of {self._signature.where}: {own}")
        return EncodeError(f"arguments of {self._signature.where}: {error}")


class EventSignature:
    """How a subscriber is called: at most one parameter besides the context takes the whole event.

    Args:
        function: The subscriber.
        context_type: The class whose instances are injected as the first parameter.

    Raises:
        ConfigurationError: It takes more than one event, or an annotation cannot be read from the wire.
    """

    def __init__(self, function: Callable[..., Any], context_type: type) -> None:
        self._signature = Signature(function, context_type, typed_sends=False)
        self.takes_context = self._signature.takes_context
        self.is_async = self._signature.is_async
        self.dependencies = self._signature.dependencies
        names = self._signature.names
        if len(names) > 1:
            raise ConfigurationError(
                f"{self._signature.where}: a subscriber takes the event as one parameter, "
                f"not {len(names)} ({', '.join(names)})"
            )
        self.name = names[0] if names else None
        self.annotation = self._signature.annotations[names[0]] if names else Any

    def decoder(self, limits: Limits) -> Callable[[bytes, str], dict[str, Any]]:
        """From body and content type to arguments by name. ``bytes`` takes any body as it is."""
        name = self.name
        if name is None:
            return lambda body, content_type: {}
        if self.annotation is bytes:
            return lambda body, content_type: {name: body}
        try:
            decoder: Decoder[Any] = Decoder(self.annotation, limits)
        except TypeError as error:
            raise ConfigurationError(f"{self._signature.where}: {error}") from error
        decode = decoder.decode
        return lambda body, content_type: {name: decode(body, content_type)}
