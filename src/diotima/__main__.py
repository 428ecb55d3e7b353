"""`python -m diotima` is the command line, where no script was installed."""

import sys

from diotima.cli import main

sys.exit(main())
