"""Build stand-ins for the CUDA libraries that a torch wheel links, so that it imports and trains on CPU without them.

    uv pip install --excludes cuda_packages.txt torch torchvision ...    # 1.3 GB in place of 5.3, 8 s in place of 52
    python stub_cuda.py VENV/lib/python3.11/site-packages

For test machines and test images only, never where a GPU is. Needs gcc, readelf and nm. `pip check` then lists the
seven packages left out. Tried with torch 2.14.1 and 2.15.0: training, DataLoader workers, gloo, bf16 autocast,
torch.compile.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

CUDA_LIBRARY = re.compile(r"^lib(cu|nv|nccl)")
CUDA_SYMBOL = re.compile(r"^(cu|nv|nccl|_Z\w*(nccl|nvshmem|cudnn))")
NO_DEVICE = 100  # cudaErrorNoDevice


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wanted(folder: Path) -> dict[str, dict[str, set[str]]]:
    """The missing libraries, and of each the symbols wanted under each symbol version ('' where unversioned)."""
    binaries = [*folder.glob("lib*.so*"), *folder.parent.glob("_C*.so")]
    present = {path.name for path in folder.iterdir()}
    missing: set[str] = set()
    version_of: dict[str, str] = {}
    undefined: set[str] = set()
    defined: set[str] = set()
    for binary in map(str, binaries):
        missing |= {
            name
            for name in re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", binary))
            if CUDA_LIBRARY.match(name)
        }
        library = None
        for line in output("readelf", "-VW", binary).splitlines():
            if match := re.search(r"File: (\S+)", line):
                library = match[1]
            if (match := re.search(r"Name: (\S+)", line)) and library and CUDA_LIBRARY.match(library):
                version_of[match[1]] = library
        for line in output("nm", "-D", "--with-symbol-versions", binary).splitlines():
            *_, kind, symbol = line.split()
            if kind in "Uw":
                undefined.add(symbol)
            else:
                defined.add(symbol.split("@")[0])
    missing -= present
    libraries: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in missing}
    for version, library in version_of.items():
        if library in libraries:
            libraries[library][version] = set()
    for symbol in undefined:
        name, _, version = symbol.replace("@@", "@").partition("@")
        if version_of.get(version) in libraries:
            libraries[version_of[version]][version].add(name)
        elif not version and CUDA_SYMBOL.match(name) and name not in defined:
            libraries[min(missing)][""].add(name)
    return libraries


def body(symbol: str) -> str:
    if symbol.endswith(("ErrorString", "ErrorName")):
        return f'const char*{symbol}(){{return "no device";}}'
    if symbol in ("cudaGetLastError", "cudaPeekAtLastError") or (
        symbol.startswith(("__cudaRegister", "__cudaUnregister")) and "FatBinary" not in symbol
    ):
        return f"int {symbol}(){{return 0;}}"
    if symbol.startswith("__cudaRegisterFatBinary"):
        return f"static void*handle[4];void*{symbol}(){{return handle;}}"
    return f"int {symbol}(){{return {NO_DEVICE};}}"


def build(path: Path, versions: dict[str, set[str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "stub.c"), Path(scratch, "versions")
        symbols = sorted(set().union(*versions.values()))
        source.write_text("\n".join(map(body, symbols)) or "int stub_empty;")
        script.write_text(
            "".join(
                f"{version} {{ {'global: ' + '; '.join(sorted(names)) + ';' if names else ''} }};\n"
                for version, names in versions.items()
                if version
            )
        )
        versioned = [f"-Wl,--version-script={script}"] if script.stat().st_size else []
        subprocess.run(
            [
                "gcc",
                "-w",
                "-fno-builtin",
                "-shared",
                "-fPIC",
                f"-Wl,-soname,{path.name}",
                *versioned,
                source,
                "-o",
                path,
            ],
            check=True,
        )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) / "torch/lib"
    for library, versions in wanted(folder).items():
        if library != "libcuda.so.1":
            build(folder / library, versions)
            print(library, sum(map(len, versions.values())))
