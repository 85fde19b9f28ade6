// The threads that work for an owner on PostgreSQL's thread: how they are started, woken and ended, and how they wake
// the owner. No lock is held during I/O, but for the write to an eventfd.
#pragma once
#include "nats/connection.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace pgbraid::nats {

class Threads {
public:
	explicit Threads(int event_fd); // of the owner; -1 for none
	~Threads();
	Threads(const Threads &) = delete;
	Threads &operator=(const Threads &) = delete;

	// For the owner. False if not all have ended in time.
	bool stop(std::chrono::milliseconds patience) noexcept;

	// For the threads.
	bool stopping() const noexcept { return stopping_; }
	void use(const std::shared_ptr<Connection> &connection); // which stop() closes
	int wake_fd() const noexcept { return wake_fd_; }		 // readable after wake(), stop() and the end of a thread
	void drain() noexcept;

	// Runs the body on a thread that stop() waits for, with every signal blocked. The body must keep this alive.
	void run(std::function<void()> body);
	std::size_t threads() const; // that have not ended

protected:
	void wake() noexcept;
	void wake_owner() noexcept; // under mutex_

	mutable std::mutex mutex_;

private:
	// A thread is joined, not only awaited: after its body it still runs the thread-local destructors of libraries, and
	// those of OpenSSL crash when the process has begun to exit.
	struct Worker {
		std::thread thread;
		bool ended = false;
	};
	void join_ended(std::unique_lock<std::mutex> &lock) noexcept;
	bool all_ended() const noexcept;

	std::condition_variable ended_;
	int event_fd_, wake_fd_;
	std::list<Worker> workers_;
	std::atomic<bool> stopping_ = false;
	std::weak_ptr<Connection> connection_;
};

} // namespace pgbraid::nats
