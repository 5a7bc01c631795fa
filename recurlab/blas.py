"""LAPACK and BLAS on one thread: their results may change bits with the number of threads."""

from functools import cache, wraps

from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the loaded libraries takes milliseconds: once


def on_one_thread(function):
    """The same function with BLAS held to one thread while it runs."""

    @wraps(function)
    def held(*args, **kwargs):
        with _controller().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return held
