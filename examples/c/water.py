"""As water.c, with the standard library of Python alone: water.py LIBRARY MODEL.pt, where LIBRARY is _kernels.so."""

import ctypes as c
import sys

SYMBOLS = ["O", "H", "H"]
POSITIONS = [(0, 0, 0.119262), (0, 0.763239, -0.477047), (0, -0.763239, -0.477047)]
DIRECTION = [(0, 0, 1), (0, 0.5, -0.25), (0.125, 0, 0)]
PAIRS = [(i, j) for i in range(3) for j in range(3) if i != j]  # all: the molecule is smaller than the cutoff


class Edges(c.Structure):
    _fields_ = [("n_centers", c.c_int64), ("n_edges", c.c_int64), ("species", c.c_void_p), ("first_edge", c.c_void_p)]
    _fields_ += [("neighbor_species", c.c_void_p), ("vectors", c.c_void_p)]


def need(status):
    if status:
        sys.exit(error.value.decode())


def array(kind, values):
    return (kind * len(values))(*values)


def along_pairs(rows):
    return array(c.c_double, [rows[j][k] - rows[i][k] for i, j in PAIRS for k in range(3)])


def print_sums(name, sign, values):
    """Adds an edge's values to the atom that it ends at, and takes them from its centre."""
    sums = [[0.0] * 3 for _ in SYMBOLS]
    for end, factor in ((1, 1), (0, -1)):
        for e, pair in enumerate(PAIRS):
            for k in range(3):
                sums[pair[end]][k] += factor * values[3 * e + k]
    for row in sums:
        print(name, *(f"{sign * x:.17g}" for x in row))


kernels, model, error = c.CDLL(sys.argv[1]), c.c_void_p(), c.c_char_p()
need(kernels.hesspot_model_open(2, sys.argv[2].encode(), 0, 1, c.byref(model), c.byref(error)))
kernels.hesspot_model_element.restype = c.c_char_p
known = [kernels.hesspot_model_element(model, s) for s in range(2)]
species = [known.index(symbol.encode()) for symbol in SYMBOLS]
arrays = [array(c.c_int64, each) for each in (species, [0, 2, 4, 6], [species[j] for _, j in PAIRS])]
arrays.append(along_pairs(POSITIONS))
edges = Edges(len(SYMBOLS), len(PAIRS), *(c.addressof(each) for each in arrays))
energies, gradient, products = (array(c.c_double, [0.0] * n) for n in (3, 18, 18))
need(kernels.hesspot_model_evaluate(model, c.byref(edges), energies, gradient, c.byref(error)))
need(kernels.hesspot_model_hvp(model, c.byref(edges), along_pairs(DIRECTION), products, c.byref(error)))
print(f"energy {sum(energies):.17g}")
print_sums("force", -1, gradient)
print_sums("H.v", 1, products)
