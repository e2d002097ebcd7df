"""`python -m valerix_cli`: what `valerix` is where its script is not on the path."""

from valerix_cli.main import run

if __name__ == "__main__":
    run()
