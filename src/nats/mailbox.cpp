#include "nats/mailbox.h"

#include <utility>

namespace pgbraid::nats {

void Mailbox::submit(std::unique_ptr<core::Batch> batch)
{
	{
		std::lock_guard lock(mutex_);
		std::size_t bytes = batch->bytes(), messages = batch->size();
		batches_.push_back(std::move(batch));
		bytes_ += bytes;
		messages_ += messages;
		if (waiting_.exchange(true))
			return; // the thread has been woken and has not looked yet
	}
	wake();
}

Publisher::Progress Mailbox::progress() const
{
	std::lock_guard lock(mutex_);
	auto progress = progress_;
	progress.unacknowledged_bytes += bytes_;
	progress.unacknowledged_messages += messages_;
	if (broken_off_) {
		progress.state = Publisher::State::broken;
		progress.error = Error{"53200", "out of memory while publishing to NATS"};
		progress.errors++;
	}
	return progress;
}

void Mailbox::break_off() noexcept
{
	broken_off_ = true;
	std::lock_guard lock(mutex_);
	wake_owner();
}

std::vector<std::unique_ptr<core::Batch>> Mailbox::take()
{
	std::lock_guard lock(mutex_);
	waiting_ = false;
	progress_.unacknowledged_bytes += std::exchange(bytes_, 0);
	progress_.unacknowledged_messages += std::exchange(messages_, 0);
	return std::exchange(batches_, {});
}

void Mailbox::show(const Publisher::Progress &progress)
{
	std::lock_guard lock(mutex_);
	progress_ = progress;
	wake_owner();
}

} // namespace pgbraid::nats
