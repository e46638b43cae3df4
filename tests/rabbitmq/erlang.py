"""Two Erlang processes beside a private node: epmd, by which nodes find each other, and one that asks it questions."""

from __future__ import annotations

import base64
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_ASKING = """
Loop = fun Loop() ->
  case io:get_line("") of
    eof ->
      rpc:call(Node, erlang, halt, [0, [{flush, false}]], 5000),
      os:cmd("epmd -kill"),
      halt(0);
    Line ->
      Answer = try
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Parsed} = erl_parse:parse_exprs(Tokens),
        case rpc:call(Node, erl_eval, exprs, [Parsed, erl_eval:new_bindings()], 60000) of
          {value, Text, _} when is_binary(Text) -> {"ok", Text};
          {value, Other, _} -> {"ok", io_lib:format("~0tp", [Other])};
          Bad -> {"error", io_lib:format("~0tp", [Bad])}
        end
      catch _:Reason -> {"error", io_lib:format("~0tp", [Reason])}
      end,
      Word = element(1, Answer), Body = unicode:characters_to_binary(element(2, Answer)),
      io:format("~s ~s~n", [Word, base64:encode(Body)]),
      Loop()
  end
end,
Loop().
"""


class AskingFailed(RuntimeError):
    """The node did not carry out an expression."""


class Epmd:
    """A port mapper of our own, so that no other Erlang node of this machine is seen or disturbed.

    Args:
        environment: With ``ERL_EPMD_PORT``.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["epmd", "-relaxed_command_check"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_it_listens(int(environment["ERL_EPMD_PORT"]))

    def _wait_until_it_listens(self, port: int) -> None:
        deadline = time.monotonic() + 10
        while not listens(port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise OSError(f"epmd does not listen on port {port}")
            time.sleep(0.02)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Asking:
    """Evaluates expressions in a node, some milliseconds each, where ``rabbitmqctl eval`` needs half a second.

    Should the process of the tests be killed, this one notices, and ends the node and its epmd.

    Args:
        node: The node's name.
        environment: The node's, for epmd and the cookie.
    """

    def __init__(self, node: str, environment: Mapping[str, str]) -> None:
        name = "asking-" + node
        program = f"Node = '{node}', {_ASKING}"
        self._process = subprocess.Popen(
            ["erl", "-noshell", "-hidden", "-sname", name, "-eval", " ".join(program.split())],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evaluate(self, expression: str) -> str:
        """The value of an expression: a binary as its text, anything else as Erlang prints it.

        Raises:
            AskingFailed: The expression failed, or the node is down.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(expression.split()) + ".\n")
        self._process.stdin.flush()
        word, _, encoded = self._process.stdout.readline().strip().partition(" ")
        answer = base64.b64decode(encoded).decode()
        if word != "ok":
            raise AskingFailed(f"{expression}: {answer or 'no answer'}")
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def listens(port: int) -> bool:
    """Whether something on this machine takes connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def cookie_file(home: Path, secret: str) -> None:
    """Give a home directory its Erlang cookie."""
    path = home / ".erlang.cookie"
    path.write_text(secret)
    path.chmod(0o400)
