// SPDX-License-Identifier: MIT
//
// Threads that wait for work, so that sharing it costs a wake-up and not a
// start: a batch of small molecules takes less time than starting threads.

#ifndef HESSPOT_TEAM_H
#define HESSPOT_TEAM_H

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <vector>

namespace hesspot {

/// The calling thread and up to `size` - 1 others, which start when a call
/// first needs them. After a call they look for the next one for a while before
/// they sleep, and let other threads go first. A process made by fork has none
/// of the threads of its parent, and starts its own.
class Team {
public:
  explicit Team(std::size_t size) : size_(size), crew_(new Crew) {}

  ~Team() {
    Crew *const crew = crew_;
    if (crew->is_here())
      delete crew;
  }

  Team(const Team &) = delete;
  Team &operator=(const Team &) = delete;

  std::size_t size() const { return size_; }

  /// Calls part(0) ... part(parts - 1), each on a thread of its own, at most
  /// `size` of them; what one throws is thrown here when all have ended. One
  /// call at a time; others wait for it.
  void run(std::size_t parts, const std::function<void(std::size_t)> &part) {
    if (parts == 1)
      return part(0);
    crew()->run(parts, part);
  }

private:
  /// Threads of one process.
  class Crew {
  public:
    Crew() = default;

    ~Crew() {
      {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        round_++;
      }
      round_.notify_all();
      for (auto &other : others_)
        other.join();
    }

    Crew(const Crew &) = delete;
    Crew &operator=(const Crew &) = delete;

    /// Whether its threads are of this process.
    bool is_here() const { return generation_ == generation(); }

    void run(std::size_t parts, const std::function<void(std::size_t)> &part) {
      const std::lock_guard one_call(calls_);
      while (others_.size() + 1 < parts)
        others_.emplace_back([this, member = others_.size() + 1,
                              seen = round_.load()] { serve(member, seen); });
      {
        const std::lock_guard lock(mutex_);
        part_ = &part;
        parts_ = parts;
        running_ = parts - 1;
        error_ = nullptr;
        round_++;
      }
      round_.notify_all();
      attempt(0);
      while (running_.load(std::memory_order_acquire))
        std::this_thread::yield();
      if (error_)
        std::rethrow_exception(error_);
    }

  private:
    /// Longer than what a step of a simulation takes outside of the model, and
    /// than the wake-up of a processor that sleeps.
    static constexpr std::chrono::microseconds AWAKE{300};

    const unsigned generation_ = generation();
    std::vector<std::thread> others_;
    std::mutex calls_, mutex_;
    bool ended_ = false;
    std::atomic<unsigned> round_ = 0;
    std::size_t parts_ = 0;
    const std::function<void(std::size_t)> *part_ = nullptr;
    std::atomic<std::size_t> running_ = 0;
    std::exception_ptr error_;

    /// How often this process and those that it came from were made by fork.
    static unsigned generation() {
      static std::atomic<unsigned> forks = 0;
      [[maybe_unused]] static const int asked =
          pthread_atfork(nullptr, nullptr, [] { forks++; });
      return forks;
    }

    /// What thread `member` does in all rounds after the one that it has seen.
    void serve(std::size_t member, unsigned seen) {
      while (true) {
        const auto asleep = std::chrono::steady_clock::now() + AWAKE;
        while (round_ == seen && std::chrono::steady_clock::now() < asleep)
          std::this_thread::yield();
        round_.wait(seen);
        std::unique_lock lock(mutex_);
        if (ended_)
          return;
        seen = round_;
        const bool takes_part = member < parts_;
        lock.unlock();
        if (!takes_part)
          continue;
        attempt(member);
        running_.fetch_sub(1, std::memory_order_release);
      }
    }

    void attempt(std::size_t number) {
      try {
        (*part_)(number);
      } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
      }
    }
  };

  const std::size_t size_;
  std::atomic<Crew *> crew_;

  /// Of this process. The parent's is left behind after a fork, locks and all:
  /// nobody can say in which state its threads were.
  Crew *crew() {
    Crew *crew = crew_;
    if (crew->is_here())
      return crew;
    auto own = std::make_unique<Crew>();
    return crew_.compare_exchange_strong(crew, own.get()) ? own.release()
                                                          : crew;
  }
};

/// The team of so many threads that all models and optimizers of a process
/// share, so that it is awake from one part of a step to the next; it ends with
/// the last of them.
inline std::shared_ptr<Team> team_of(std::size_t threads) {
  static std::mutex mutex;
  static std::map<std::size_t, std::weak_ptr<Team>> teams;
  const std::lock_guard lock(mutex);
  auto team = teams[threads].lock();
  if (!team)
    teams[threads] = team = std::make_shared<Team>(threads);
  return team;
}

} // namespace hesspot

#endif
