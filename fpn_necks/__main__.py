"""``python -m fpn_necks COMMAND``, the same as ``fpn-necks COMMAND``."""

import sys

from fpn_necks.cli import main

if __name__ == "__main__":
    sys.exit(main())
