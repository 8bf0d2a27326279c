"""`python -m hfseg`, the same as the command `hfseg`."""

from hfseg.cli import main

if __name__ == "__main__":
    main()
