"""A project's ./valerix.toml, which applies only if the user has trusted its content; as direnv does with .envrc.

Trusted files are recorded beside the user's config, in a private file: the SHA-256 of path and content.
VALERIX_TRUST_PROJECT, for pipelines, lists the SHA-256 of contents, as `sha256sum` prints it.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import msgspec

from valerix_cli.config import ConfigFile, parse_config
from valerix_cli.errors import BadUsageError, CliError

PROJECT_FILE = "valerix.toml"
VARIABLE = "VALERIX_TRUST_PROJECT"
_STORE = "trusted-projects.json"
_LARGEST = 64 * 1024  # bytes
_MAY_BE_NAMED = {
    "operator_token_env": re.compile(r"VALERIX_[A-Z0-9_]+_TOKEN"),
    "service_token_env": re.compile(r"VALERIX_[A-Z0-9_]+_TOKEN"),
    "order_database_env": re.compile(r"VALERIX_[A-Z0-9_]+_DATABASE"),
    "inventory_database_env": re.compile(r"VALERIX_[A-Z0-9_]+_DATABASE"),
    "redis_env": re.compile(r"VALERIX_[A-Z0-9_]+_REDIS"),
}
"""The environment variables that a project's contexts may read: none that another program uses for a secret."""

State = Literal["trusted", "changed", "untrusted"]


@dataclass(frozen=True)
class Project:
    """A project file: `config` is its content, `wrong` the error if it is invalid."""

    path: Path
    sha256: str
    state: State
    config: ConfigFile | None
    wrong: CliError | None

    @property
    def in_force(self) -> ConfigFile | None:
        """Its settings if it is trusted, else None. Raises BadUsageError if the file is invalid."""
        if self.state != "trusted":
            return None
        if self.wrong is not None:
            raise self.wrong
        return self.config


class Trusted(msgspec.Struct, frozen=True):
    """A trusted project file: its path, and the digest of path and content."""

    path: str
    digest: str


class Trust:
    """The project files that this user has trusted."""

    def __init__(self, user_config: Path) -> None:
        self.path = user_config.parent / _STORE

    def entries(self) -> list[Trusted]:
        """Return the trusted files; none if the record does not exist, or others may write to it."""
        try:
            with _opened(self.path, os.O_RDONLY | os.O_NOFOLLOW) as file:
                status = os.fstat(file.fileno())
                is_private = (
                    stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
                )
                return msgspec.json.decode(file.read(), type=list[Trusted]) if is_private else []
        except (OSError, msgspec.DecodeError):
            return []

    def state(self, path: Path, content: bytes) -> State:
        known = {one.path: one.digest for one in self.entries()}
        if str(path) not in known:
            return "untrusted"
        return "trusted" if known[str(path)] == digest(path, content) else "changed"

    def add(self, path: Path, content: bytes) -> None:
        others = [one for one in self.entries() if one.path != str(path)]
        self._write([*others, Trusted(str(path), digest(path, content))])

    def remove(self, path: Path) -> bool:
        """Remove a file. Returns whether it was trusted."""
        entries = self.entries()
        left = [one for one in entries if one.path != str(path)]
        if len(left) != len(entries):
            self._write(left)
        return len(left) != len(entries)

    def _write(self, entries: list[Trusted]) -> None:
        new = self.path.with_name(f".{_STORE}.{os.getpid()}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new.unlink(missing_ok=True)
            with _opened(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                file.write(msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n")
            new.replace(self.path)
        except OSError as error:
            raise CliError(
                "The trust could not be stored.",
                f"{self.path}: {error.strerror}",
                "set VALERIX_CONFIG to a place of yours",
            ) from error


def digest(path: Path, content: bytes) -> str:
    """Return the digest of path and content, so that a copy elsewhere has to be trusted again."""
    return "sha256:" + hashlib.sha256(os.fsencode(path) + b"\n" + content).hexdigest()


def read_project(directory: Path, user_config: Path, environ: Mapping[str, str]) -> Project | None:
    """Return the project file of `directory`; None if there is none, or if it is the user's own config."""
    path = Path(os.path.realpath(directory / PROJECT_FILE))
    if path == Path(os.path.realpath(user_config)):
        return None
    try:
        content = read_content(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, CliError) as error:
        wrong = error if isinstance(error, CliError) else _unreadable(path, error)
        return Project(path, "", "untrusted", None, wrong)
    sha256 = hashlib.sha256(content).hexdigest()
    named = {one.strip().removeprefix("sha256:").lower() for one in environ.get(VARIABLE, "").split(",")}
    state: State = "trusted" if sha256 in named else Trust(user_config).state(path, content)
    config: ConfigFile | None = None
    refused: BadUsageError | None = None
    try:
        config = parse_config(content, path)
        check(config, path)
    except BadUsageError as error:
        refused = error
    return Project(path, sha256, state, config, refused)


def read_content(path: Path) -> bytes:
    """Read a project file. Raises OSError; BadUsageError if it is not a regular file or too long."""
    with _opened(path, os.O_RDONLY) as file:
        content = file.read(_LARGEST + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    if content is None or len(content) > _LARGEST:
        what = "it is not a regular file" if content is None else f"it is larger than {_LARGEST} bytes"
        raise BadUsageError(f"{path} is invalid.", what, "move it away")
    return content


def check(config: ConfigFile, path: Path) -> None:
    """Raise BadUsageError for a setting that no project may have, trusted or not."""
    for name, context in config.contexts.items():
        if context.allow_plain_http:
            raise _too_much(path, f"contexts.{name}.allow_plain_http may be set in your own config only")
        for field, pattern in _MAY_BE_NAMED.items():
            variable = getattr(context, field)
            if variable is not None and not pattern.fullmatch(variable):
                allowed = pattern.pattern.replace("[A-Z0-9_]+", "…")
                raise _too_much(path, f"contexts.{name}.{field} names {variable}; a project may name {allowed} only")


def others_may_write(path: Path) -> bool:
    """Return whether another user can change a file, which then has to be trusted again."""
    status = path.stat()
    return status.st_uid not in {0, os.geteuid()} or bool(status.st_mode & 0o022)


def _too_much(path: Path, why: str) -> BadUsageError:
    return BadUsageError(
        f"{path} sets more than a project may set.", why, "describe that context in your own config instead"
    )


def _unreadable(path: Path, error: OSError) -> BadUsageError:
    return BadUsageError(f"{path} cannot be read.", str(error.strerror), "make it readable, or move it away")


def _opened(path: Path, flags: int) -> IO[bytes]:
    """Open without blocking on a pipe; a new file is readable by its owner only."""
    return os.fdopen(os.open(path, flags | os.O_NONBLOCK, 0o600), "wb" if flags & os.O_WRONLY else "rb")
