"""Bytes on the way between i-PI and the driver: sockets, shared memory, MPI."""
