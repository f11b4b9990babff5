// SPDX-License-Identifier: MIT
//
// From i-PI's POSDATA and GETFORCE to its answer, and in a worker from the
// front's request to its answer, for `ipi_driver/serving/fast_lane.py`. What is
// no ordinary step is left as it came, for Python to take.

#include "fast_lane.h"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <sys/socket.h>

using namespace hesspot::ipi;

namespace {

/// A stretch of bytes that goes through a socket in as many pieces as it takes.
enum class Passage { whole, interrupted, broken };

Passage passed(ssize_t count, std::int64_t &done) {
  if (count < 0)
    return errno == EINTR ? Passage::interrupted : Passage::broken;
  done += count;
  return count ? Passage::whole : Passage::broken;
}

Passage send_rest(std::int64_t socket, const char *bytes, std::int64_t size,
                  std::int64_t &done) {
  while (done < size) {
    const Passage passage =
        passed(send(static_cast<int>(socket), bytes + done,
                    static_cast<std::size_t>(size - done), MSG_NOSIGNAL),
               done);
    if (passage != Passage::whole)
      return passage;
  }
  return Passage::whole;
}

Passage receive_some(std::int64_t socket, char *bytes, std::int64_t size,
                     std::int64_t &done) {
  return passed(recv(static_cast<int>(socket), bytes + done,
                     static_cast<std::size_t>(size - done), 0),
                done);
}

template <typename T> T read(const char *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <typename T> char *append(char *to, const T *from, std::int64_t n) {
  const auto size = static_cast<std::size_t>(n) * sizeof(T);
  std::memcpy(to, from, size);
  return to + size;
}

bool starts_with(const char *bytes, std::int64_t count, const char *header) {
  return !std::memcmp(bytes, header, count < 12 ? std::size_t(count) : 12);
}

/// Energies, forces and virials, one after another, or null where the lists do
/// not hold, no answer exists, or equal structures pad the batch. `numbers` are
/// cells (9 for each structure), lattice vectors as rows, and positions;
/// Angstrom.
const double *evaluate(Task &task, const char *numbers, double &seconds) {
  const auto n = static_cast<std::size_t>(task.n_structures),
             atoms = static_cast<std::size_t>(3 * task.n_atoms) * 8;
  const char *const positions = numbers + 72 * n;
  for (std::size_t s = 1; s < n; s++) {
    const char *const here = positions + s * atoms;
    if (!std::memcmp(here, here - atoms, atoms))
      return nullptr;
  }
  std::memcpy(task.positions, positions, n * atoms);
  if (task.shifts)
    std::memcpy(task.cells, numbers, n * 72);
  Answer answer;
  hesspot_edges_evaluate(&task, 0, &answer);
  if (answer.status != DONE)
    return nullptr;
  seconds += task.model_seconds;
  return task.sums;
}

} // namespace

extern "C" {

std::int64_t hesspot_worker_step(WorkerLane *lane) {
  const std::int64_t n = lane->n_structures, n_atoms = lane->n_atoms,
                     n_numbers = n * (10 + 3 * n_atoms),
                     request_size = 8 + 8 * n * (9 + 3 * n_atoms);
  if (!lane->has_answer) {
    while (lane->filled < request_size) {
      const Passage passage =
          receive_some(lane->pipe, lane->request, request_size, lane->filled);
      if (passage != Passage::whole)
        return passage == Passage::interrupted ? INTERRUPTED : UNUSUAL;
      if (lane->filled >= 8 && read<std::int64_t>(lane->request) != n)
        return UNUSUAL;
    }
    const double *const numbers =
        evaluate(*lane->task, lane->request + 8, lane->seconds);
    if (!numbers)
      return UNUSUAL;
    const std::int64_t head[2] = {0, 0};
    append(append(lane->answer, head, 2), numbers, n_numbers);
    lane->has_answer = 1;
    lane->sent = 0;
  }
  const Passage passage =
      send_rest(lane->pipe, lane->answer, 16 + 8 * n_numbers, lane->sent);
  if (passage == Passage::interrupted)
    return INTERRUPTED;
  lane->has_answer = 0;
  if (passage == Passage::broken)
    return UNUSUAL;
  lane->filled = 0;
  lane->answered++;
  return ANSWERED;
}
}

namespace {

/// Of a step. DRAINING: the answer's `rest`, an error, which Python will get
/// again when it asks.
enum Phase : std::int64_t { LISTENING, ASKING, HEARING, DRAINING, REPLYING };

/// A message as i-PI sends it: POSDATA, numbers, and GETFORCE.
struct Message {
  explicit Message(const FrontLane &lane) {
    const std::int64_t n = lane.n_structures;
    const bool stream = !lane.positions;
    cells = 12 + (stream && n == 1 ? 0 : 4);
    count = stream && n == 1 ? 12 + 144 : 12;
    positions = 12 + 4 + 144 * n;
    getforce = stream ? positions + 24 * n * lane.n_atoms : 16;
    size = getforce + 12;
  }
  /// Where cells, number of atoms, positions and GETFORCE begin.
  std::int64_t cells, count, positions, getforce, size;
};

/// Receive one message, ANSWERED if it is there; STATUS is answered meanwhile.
Step listen(FrontLane &lane, const Message &message) {
  Window &window = *lane.window;
  for (;;) {
    const std::int64_t have = window.last - window.first;
    const char *const at = window.bytes + window.first;
    if (have && starts_with(at, have, "STATUS      ")) {
      if (have >= 12) {
        const Passage passage =
            send_rest(lane.socket, "READY       ", 12, lane.done);
        if (passage != Passage::whole)
          return passage == Passage::interrupted ? INTERRUPTED : UNUSUAL;
        lane.done = 0;
        window.first += 12;
        continue;
      }
    } else if (have && !starts_with(at, have, "POSDATA     ")) {
      return UNUSUAL;
    } else if (have >= message.count + 4 &&
               read<std::int32_t>(at + message.count) != lane.n_atoms) {
      return UNUSUAL;
    } else if (have >= message.size) {
      return starts_with(at + message.getforce, 12, "GETFORCE    ") ? ANSWERED
                                                                    : UNUSUAL;
    }
    if (window.first && window.capacity - window.first < message.size) {
      std::memmove(window.bytes, at, static_cast<std::size_t>(have));
      window.first = 0;
      window.last = have;
    }
    const Passage passage =
        receive_some(lane.socket, window.bytes, window.capacity, window.last);
    if (passage != Passage::whole)
      return passage == Passage::interrupted ? INTERRUPTED : UNUSUAL;
  }
}

/// The request that the message makes.
void translate(FrontLane &lane, const Message &message) {
  const char *const at = lane.window->bytes + lane.window->first;
  const char *const cells = lane.cells ? lane.cells : at + message.cells;
  const char *const positions =
      lane.positions ? lane.positions : at + message.positions;
  const std::int64_t stride = lane.cells ? 72 : 144;
  char *to = append(lane.request, &lane.n_structures, 1);
  for (std::int64_t s = 0; s < lane.n_structures; s++)
    for (int row = 0; row < 3; row++)
      for (int column = 0; column < 3; column++) {
        const double value =
            read<double>(cells + stride * s + 8 * (3 * column + row)) *
            lane.bohr;
        to = append(to, &value, 1);
      }
  for (std::int64_t i = 0; i < 3 * lane.n_structures * lane.n_atoms; i++) {
    const double value = read<double>(positions + 8 * i) * lane.bohr;
    to = append(to, &value, 1);
  }
}

/// The reply that energies, forces and virials make; its size.
std::int64_t compose(FrontLane &lane, const char *numbers) {
  const std::int64_t n = lane.n_structures, n_forces = 3 * lane.n_atoms * n;
  char *to = append(lane.reply, "FORCEREADY  ", 12);
  const auto divided = [&numbers](char *place, std::int64_t count, double by) {
    for (std::int64_t i = 0; i < count; i++, numbers += 8) {
      const double value = read<double>(numbers) / by;
      place = append(place, &value, 1);
    }
    return place;
  };
  if (lane.positions) {
    divided(lane.energies, n, lane.hartree);
    divided(lane.forces, n_forces, lane.hartree_per_bohr);
    divided(lane.virials, 9 * n, lane.hartree);
  } else {
    const auto count = static_cast<std::int32_t>(lane.n_atoms);
    to = append(divided(to, n, lane.hartree), &count, 1);
    to = divided(to, n_forces, lane.hartree_per_bohr);
    to = divided(to, 9 * n, lane.hartree);
  }
  std::memset(to, 0, static_cast<std::size_t>(4 * n)); // no extras
  return to + 4 * n - lane.reply;
}

/// Nothing was taken, as far as Python can see.
Step left(FrontLane &lane) {
  lane.phase = LISTENING;
  lane.done = 0;
  return UNUSUAL;
}

} // namespace

extern "C" {

std::int64_t hesspot_front_step(FrontLane *lane) {
  const Message message(*lane);
  const std::int64_t n = lane->n_structures, n_atoms = lane->n_atoms,
                     answer_size = 16 + 8 * n * (10 + 3 * n_atoms);
  const auto stopped = [lane](Passage passage) {
    return passage == Passage::interrupted ? INTERRUPTED : left(*lane);
  };
  if (lane->phase == LISTENING) {
    const Step step = listen(*lane, message);
    if (step != ANSWERED)
      return step == INTERRUPTED ? step : left(*lane);
    translate(*lane, message);
    lane->phase = ASKING;
    lane->done = 0;
  }
  if (lane->phase == ASKING && lane->task) {
    const double *const numbers =
        evaluate(*lane->task, lane->request + 8, lane->seconds);
    if (!numbers)
      return left(*lane);
    append(lane->answer + 16, numbers, n * (10 + 3 * n_atoms));
    lane->phase = REPLYING;
  }
  if (lane->phase == ASKING) {
    const Passage passage = send_rest(
        lane->pipe, lane->request, 8 + 8 * n * (9 + 3 * n_atoms), lane->done);
    if (passage != Passage::whole)
      return stopped(passage);
    lane->phase = HEARING;
    lane->done = 0;
  }
  if (lane->phase == HEARING) {
    while (lane->done < answer_size) {
      const Passage passage =
          receive_some(lane->pipe, lane->answer, answer_size, lane->done);
      if (passage != Passage::whole)
        return stopped(passage);
    }
    lane->rest = read<std::int64_t>(lane->answer + 8);
    lane->phase =
        read<std::int64_t>(lane->answer) || lane->rest ? DRAINING : REPLYING;
    lane->done = 0;
  }
  if (lane->phase == DRAINING) {
    while (lane->rest > 0) {
      const Passage passage = receive_some(
          lane->pipe, lane->answer,
          lane->rest < answer_size ? lane->rest : answer_size, lane->done);
      if (passage != Passage::whole)
        return stopped(passage);
      lane->rest -= lane->done;
      lane->done = 0;
    }
    return left(*lane);
  }
  const std::int64_t size = compose(*lane, lane->answer + 16);
  const Passage passage =
      send_rest(lane->socket, lane->reply, size, lane->done);
  if (passage != Passage::whole)
    return stopped(passage);
  lane->window->first += message.size;
  lane->phase = LISTENING;
  lane->done = 0;
  lane->answered++;
  return ANSWERED;
}
}
