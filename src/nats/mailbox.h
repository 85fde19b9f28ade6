// What the owner of a publisher and the publisher's thread have in common.
#pragma once
#include "nats/publisher.h"
#include "nats/threads.h"

namespace pgbraid::nats {

class Mailbox : public Threads {
public:
	using Threads::Threads;

	// For the owner.
	void submit(std::unique_ptr<core::Batch> batch);
	Publisher::Progress progress() const;

	// For the thread.
	bool waiting() const noexcept { return waiting_; } // take() would return something
	std::vector<std::unique_ptr<core::Batch>> take();
	void show(const Publisher::Progress &progress); // and wake the owner
	void break_off() noexcept; // the thread can't even say what is wrong: there is no memory to say it with

private:
	std::atomic<bool> waiting_ = false, broken_off_ = false;
	std::vector<std::unique_ptr<core::Batch>> batches_;
	std::size_t bytes_ = 0; // of batches_
	std::uint64_t messages_ = 0;
	Publisher::Progress progress_;
};

} // namespace pgbraid::nats
