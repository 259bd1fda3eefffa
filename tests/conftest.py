"""What holds for every test."""

import signal

import torch
from hypothesis import settings

# A busy machine must not fail a test.
settings.register_profile("jielong", deadline=None)
settings.load_profile("jielong")

# A shell that runs the tests in the background has them ignore Ctrl-C, which some of them press.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Several workers share the cores, and tiny models gain nothing by a second thread.
torch.set_num_threads(1)
