"""Worker processes that stay: told over a pipe to do a batch at the same moment, timed by the parent."""

import multiprocessing
import signal

from recurlab.bench.case import Problem
from recurlab.bench.timing import Competitor


class Workers:
    """`count` processes with one torch thread each, every one with its share of the replicas of a sweep."""

    def __init__(self, problem: Problem, count: int):
        context = multiprocessing.get_context("spawn")  # a fork would copy the thread pools' locks
        pipes = [context.Pipe() for _ in range(count)]
        self.pipes = [ours for ours, _ in pipes]
        shares = [range(k, max(problem.case.R, count), count) for k in range(count)]
        work = zip(pipes, shares, strict=True)
        self.processes = [context.Process(target=_serve, args=(p[1], problem, r), daemon=True) for p, r in work]
        for process in self.processes:
            process.start()
        self.cpu = [0.0] * count

    def run(self, repeats: int) -> None:
        """`repeats` replicas in each process."""
        for pipe in self.pipes:
            pipe.send(repeats)
        self.cpu = [pipe.recv() for pipe in self.pipes]

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            process.terminate()
            process.join()
            pipe.close()


def _serve(connection, problem: Problem, replicas: range) -> None:
    from recurlab.bench import torch_peer  # here: the parent need not have loaded torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends its workers
    torch_peer.serve(connection, problem, replicas)


def torch_processes(problem: Problem, count: int) -> Competitor:
    """torch in `count` processes with one thread each; a call is one replica in each."""
    workers = Workers(problem, count)
    name = f"torch, {count} process{'es' * (count > 1)} × 1 thread"
    return Competitor(name, workers.run, count, close=workers.close, children_cpu=lambda: sum(workers.cpu))
