"""What holds for every test."""

import signal

import torch
from hypothesis import settings

# A busy machine must not fail a test.
settings.register_profile("jielong", deadline=None)
settings.load_profile("jielong")

# A shell that runs tests in the background has them ignore Ctrl-C, and nohup a closed terminal; some tests
# press the one and close the other.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)

# Several workers share the cores, and tiny models gain nothing by a second thread.
torch.set_num_threads(1)
