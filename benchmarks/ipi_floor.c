// SPDX-License-Identifier: MIT
//
// The least that a driver of i-PI can be: it answers zeros, without a model, units or checks. ipi_speed.py measures it
// beside the others, for what sockets and the operating system cost by themselves.
//
//     ipi_floor SOCKET N_ATOMS N_BEADS

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int socket_fd;
static char buffer[1 << 16];
static size_t first, last;

static void take(void *to, size_t length) {
  while (last - first < length) {
    memmove(buffer, buffer + first, last - first);
    last -= first;
    first = 0;
    const ssize_t more = read(socket_fd, buffer + last, sizeof buffer - last);
    if (more <= 0)
      exit(1);
    last += (size_t)more;
  }
  if (to)
    memcpy(to, buffer + first, length);
  first += length;
}

static void give(const void *from, size_t length) {
  if (write(socket_fd, from, length) != (ssize_t)length)
    exit(1);
}

int main(int argc, char **argv) {
  if (argc != 4)
    return 2;
  const int32_t n_atoms = atoi(argv[2]), n_beads = atoi(argv[3]);
  const size_t n = (size_t)n_atoms, beads = (size_t)n_beads;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
  socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(socket_fd, (struct sockaddr *)&address, sizeof address))
    return 1;

  // FORCEREADY, energies, number of atoms, forces and virials, lengths of the extras
  const size_t answer_length = 12 + 4 + beads * (8 + 24 * n + 72 + 4);
  char *answer = calloc(answer_length, 1);
  memcpy(answer, "FORCEREADY  ", 12);
  memcpy(answer + 12 + 8 * beads, &n_atoms, 4);
  const char *state = "NEEDINIT    ";
  for (;;) {
    char header[12];
    take(header, 12);
    if (!memcmp(header, "STATUS", 6)) {
      give(state, 12);
    } else if (!memcmp(header, "INIT", 4)) {
      int32_t bead_and_length[2];
      take(bead_and_length, 8);
      take(NULL, (size_t)bead_and_length[1]);
      state = "READY       ";
    } else if (!memcmp(header, "POSDATA", 7)) {
      take(NULL, 4 + beads * (144 + 24 * n));
      state = "HAVEDATA    ";
    } else if (!memcmp(header, "GETFORCE", 8)) {
      give(answer, answer_length);
      state = "READY       ";
    } else {
      return 0;
    }
  }
}
