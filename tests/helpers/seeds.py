"""Seeds that failed once, a line each; lines that begin with # are comments."""


def known_seeds(path):
    lines = path.read_text().splitlines()
    return [int(line) for line in lines if line and not line.startswith("#")]
