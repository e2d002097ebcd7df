"""`python -m tests.node.assets [DIR]`: build CoreDNS from its Go module, once, next to the assets of tests.cluster."""

import argparse
import sys
from pathlib import Path

from tests.cluster.assets import build, default, log, write_module

COREDNS = "v1.12.4"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.node.assets", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=default())
    directory: Path = parser.parse_args(arguments).directory.absolute()
    module = directory / "build" / "coredns"
    write_module(module, f"github.com/coredns/coredns {COREDNS}", [])
    build(module, "github.com/coredns/coredns", directory / "coredns", "")
    log(f'done: export KUBEBUILDER_ASSETS="{directory}"')


if __name__ == "__main__":
    main(sys.argv[1:])
