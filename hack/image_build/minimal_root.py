"""Assembles the root filesystem of the operator image: Python and what it loads, and nothing to run a shell with.

Runs inside the build (standard library only): `minimal_root.py --libraries DIRECTORY --output DIRECTORY`.
"""

import argparse
import compileall
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

UNUSED_MODULES = (
    "__pycache__",
    "config-*",
    "distutils",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tkinter",
    "turtle*",
    "venv",
    # Extension modules that would bring a terminal library or a database along.
    "_curses*.so",
    "_dbm*.so",
    "_gdbm*.so",
    "_tkinter*.so",
    "readline*.so",
    "nis*.so",
)
# Loaded by name at run time, so that `ldd` does not show it: pthread_exit unwinds with it.
LOADED_BY_NAME = ("libgcc_s.so.1",)
USERS = """\
root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/sbin/nologin
nobody:x:65534:65534:nobody:/:/sbin/nologin
"""
GROUPS = "root:x:0:\nnonroot:x:65532:\nnogroup:x:65534:\n"
NAME_SERVICES = "passwd: files\ngroup: files\nhosts: files dns\n"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
OPENSSL_DIRECTORY = Path("/usr/lib/ssl")
PACKAGE_STATUS = Path("/var/lib/dpkg/status")


def shared_libraries(program: Path) -> set[Path]:
    """Return the libraries that the dynamic linker loads for `program`, itself included."""
    answer = subprocess.run(["ldd", str(program)], check=False, capture_output=True, text=True)
    if "not found" in answer.stdout:
        sys.exit(f"minimal_root: {program} lacks a library:\n{answer.stdout}")
    return {Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+)", answer.stdout, re.MULTILINE)}


def extension_modules(*directories: Path) -> Iterator[Path]:
    """Yield every shared object below `directories`."""
    for directory in directories:
        yield from directory.rglob("*.so*")


def named_libraries() -> set[Path]:
    """Return the libraries of LOADED_BY_NAME as the linker's cache has them."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True).stdout
    return {Path(path) for path in re.findall(r"=> (\S+)", cache) if Path(path).name in LOADED_BY_NAME}


def copy_python(output: Path) -> Path:
    """Copy the interpreter and the standard library; return the copied library's directory."""
    interpreter = Path(sys.executable).resolve()
    programs = output / "usr/bin"
    programs.mkdir(parents=True)
    shutil.copy2(interpreter, programs / interpreter.name)
    (programs / "python3").symlink_to(interpreter.name)
    library = Path(sysconfig.get_path("stdlib"))
    copied = output / library.relative_to("/")
    shutil.copytree(library, copied, symlinks=True, ignore=shutil.ignore_patterns(*UNUSED_MODULES))
    for link in [path for path in copied.rglob("*") if path.is_symlink()]:
        link.unlink()
    return copied


def copy_shared_library(library: Path, output: Path) -> None:
    """Copy `library` under the name it is asked for, with Debian's merged /usr."""
    directory = library.parent.resolve()
    target = output / directory.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(library.resolve(), target / library.name)


def write_configuration(output: Path) -> None:
    """Write users, name service, certificates and the links that the linker and OpenSSL follow."""
    for link in ("lib", "lib64"):
        if Path("/", link).is_symlink():
            (output / link).symlink_to(Path("/", link).readlink())
    etc = output / "etc"
    etc.mkdir()
    (etc / "passwd").write_text(USERS)
    (etc / "group").write_text(GROUPS)
    (etc / "nsswitch.conf").write_text(NAME_SERVICES)
    shutil.copy2(Path("/etc/os-release").resolve(), etc / "os-release")
    certificates = output / CERTIFICATES.relative_to("/")
    certificates.parent.mkdir(parents=True)
    shutil.copy2(CERTIFICATES, certificates)
    openssl = output / OPENSSL_DIRECTORY.relative_to("/")
    openssl.mkdir(parents=True)
    (openssl / "certs").symlink_to("/etc/ssl/certs")
    (openssl / "cert.pem").symlink_to(CERTIFICATES)
    (output / "tmp").mkdir(mode=0o1777)
    (output / "tmp").chmod(0o1777)  # mkdir's mode is cut by the umask


def owning_packages(paths: set[Path]) -> set[str]:
    """Return the Debian packages that own `paths`."""
    # dpkg records a file under /lib or /usr/lib, as its package had it before /usr was merged.
    names = {str(path.resolve()) for path in paths}
    names |= {name.removeprefix("/usr") for name in names}
    answer = subprocess.run(["dpkg-query", "--search", *names], check=False, capture_output=True, text=True)
    return {line.partition(":")[0] for line in answer.stdout.splitlines()}


def record_packages(packages: set[str], output: Path) -> None:
    """Keep each package's status, which scanners read, and its copyright notice."""
    status = output / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for paragraph in PACKAGE_STATUS.read_text().split("\n\n"):
        name = paragraph.partition("\n")[0].removeprefix("Package: ")
        if name not in packages:
            continue
        (status / name).write_text(paragraph + "\n")
        notice = Path("/usr/share/doc", name, "copyright")
        if notice.exists():
            copied = output / notice.relative_to("/")
            copied.parent.mkdir(parents=True)
            shutil.copy2(notice, copied)


def main() -> None:
    """Write the root filesystem to `--output`, which must not exist."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--libraries", type=Path, required=True, help="Python packages; copied to the same path"
    )
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    output: Path = options.output
    library = copy_python(output)
    packages = output / options.libraries.relative_to("/")
    shutil.copytree(options.libraries, packages)
    programs = [output / "usr/bin/python3", *extension_modules(library, packages)]
    # A wheel may bring its own libraries: those are in the tree already.
    needed = named_libraries().union(*map(shared_libraries, programs))
    system = {path for path in needed if not path.is_relative_to(output)}
    for path in system:
        copy_shared_library(path, output)
    write_configuration(output)
    record_packages(
        owning_packages({*system, Path(sys.executable), CERTIFICATES}) | {"ca-certificates"}, output
    )
    for directory in (library, packages):
        compileall.compile_dir(
            directory,
            quiet=1,
            stripdir=str(output),
            # Nothing can change in the image, so no time is spent on asking.
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main()
