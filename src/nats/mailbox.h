// What the owner of a publisher and the publisher's thread have in common. No lock is held during I/O, but for the
// write to an eventfd.
#pragma once
#include "nats/publisher.h"

#include <condition_variable>
#include <mutex>

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
	bool waiting() const noexcept { return waiting_; }		// take() would return something
	std::vector<std::unique_ptr<core::Batch>> take();
	void show(const Publisher::Progress &progress);			// and wake the owner
	void use(const std::shared_ptr<Connection> &connection);	// which stop() closes
	int wake_fd() const noexcept { return wake_fd_; }		// readable after submit(), stop() and leave()
	void drain() noexcept;

	// The threads that stop() waits for.
	void enter() noexcept;
	void leave() noexcept;
	int threads() const noexcept;

private:
	void wake() noexcept;

	mutable std::mutex mutex_;
	std::condition_variable left_;
	int event_fd_, wake_fd_;
	int threads_ = 0;
	std::atomic<bool> stopping_ = false, waiting_ = false;
	std::vector<std::unique_ptr<core::Batch>> batches_;
	std::size_t bytes_ = 0;			// of batches_
	std::uint64_t messages_ = 0;
	Publisher::Progress progress_;
	std::weak_ptr<Connection> connection_;
};

}	// namespace pgbraid::nats
