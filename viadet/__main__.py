"""`python -m viadet`, the same as `viadet`."""

from viadet.commands.app import main

if __name__ == "__main__":
    main(prog_name="viadet")
