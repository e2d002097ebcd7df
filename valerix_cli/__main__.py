"""`python -m valerix_cli`: the same command line as `valerix`, if its script is not on PATH."""

from valerix_cli.main import run

if __name__ == "__main__":
    run()
