from contextlib import contextmanager


class Processes:
    index = 0
    count = 1
    first = True

    def share(self, name, make):
        return make()

    def gather(self, name, value):
        return [value]

    def stop_agreed(self, step):
        return False


@contextmanager
def join(c, n, p):
    yield Processes()
