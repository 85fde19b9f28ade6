// What the owner of a publisher and the publisher's thread have in common. No lock is held during I/O, but for the
// write to an eventfd.
#pragma once
#include "nats/publisher.h"

#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace pgbraid::nats {

class Mailbox {
public:
	explicit Mailbox(int event_fd);
	~Mailbox();
	Mailbox(const Mailbox &) = delete;
	Mailbox &operator=(const Mailbox &) = delete;

	// For the owner.
	void submit(std::unique_ptr<core::Batch> batch);
	Publisher::Progress progress() const;
	bool stop(std::chrono::milliseconds patience) noexcept;

	// For the threads.
	bool stopping() const noexcept { return stopping_; }
	bool waiting() const noexcept { return waiting_; } // take() would return something
	std::vector<std::unique_ptr<core::Batch>> take();
	void show(const Publisher::Progress &progress);			 // and wake the owner
	void use(const std::shared_ptr<Connection> &connection); // which stop() closes
	void break_off() noexcept; // the thread can't even say what is wrong: there is no memory to say it with
	int wake_fd() const noexcept { return wake_fd_; } // readable after submit(), stop() and the end of a thread
	void drain() noexcept;

	// Runs the body on a thread that stop() waits for, with every signal blocked. The body must keep the mailbox alive.
	void run(std::function<void()> body);
	std::size_t threads() const; // that have not ended

private:
	// A thread is joined, not only awaited: after its body it still runs the thread-local destructors of libraries, and
	// those of OpenSSL crash when the process has begun to exit.
	struct Worker {
		std::thread thread;
		bool ended = false;
	};
	void wake() noexcept;
	void join_ended(std::unique_lock<std::mutex> &lock) noexcept;
	bool all_ended() const noexcept;

	mutable std::mutex mutex_;
	std::condition_variable ended_;
	int event_fd_, wake_fd_;
	std::list<Worker> workers_;
	std::atomic<bool> stopping_ = false, waiting_ = false, broken_off_ = false;
	std::vector<std::unique_ptr<core::Batch>> batches_;
	std::size_t bytes_ = 0; // of batches_
	std::uint64_t messages_ = 0;
	Publisher::Progress progress_;
	std::weak_ptr<Connection> connection_;
};

} // namespace pgbraid::nats
