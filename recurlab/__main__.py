"""`python -m recurlab`: the same as the command `recurlab`."""

import sys

from recurlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
