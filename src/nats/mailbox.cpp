#include "nats/mailbox.h"

#include <cerrno>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace pgbraid::nats {

Mailbox::Mailbox(int event_fd) : event_fd_(event_fd), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
{
	if (wake_fd_ < 0)
		throw std::system_error(errno, std::generic_category(), "eventfd");
}

Mailbox::~Mailbox()
{
	::close(wake_fd_);
}

void Mailbox::submit(std::unique_ptr<core::Batch> batch)
{
	{
		std::lock_guard lock(mutex_);
		std::size_t bytes = batch->bytes(), messages = batch->size();
		batches_.push_back(std::move(batch));
		bytes_ += bytes;
		messages_ += messages;
		if (waiting_.exchange(true))
			return;		// the thread has been woken and has not looked yet
	}
	wake();
}

Publisher::Progress Mailbox::progress() const
{
	std::lock_guard lock(mutex_);
	auto progress = progress_;
	progress.unacknowledged_bytes += bytes_;
	progress.unacknowledged_messages += messages_;
	return progress;
}

bool Mailbox::stop(std::chrono::milliseconds patience) noexcept
{
	std::unique_lock lock(mutex_);
	stopping_ = true;
	event_fd_ = -1;
	if (auto connection = connection_.lock())
		connection->close();
	wake();
	return left_.wait_for(lock, patience, [this] { return threads_ == 0; });
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
	if (event_fd_ >= 0)
		eventfd_write(event_fd_, 1);
}

void Mailbox::use(const std::shared_ptr<Connection> &connection)
{
	std::lock_guard lock(mutex_);
	connection_ = connection;
	if (stopping_ && connection)
		connection->close();
}

void Mailbox::drain() noexcept
{
	eventfd_t count;
	eventfd_read(wake_fd_, &count);
}

void Mailbox::enter() noexcept
{
	std::lock_guard lock(mutex_);
	threads_++;
}

void Mailbox::leave() noexcept
{
	std::lock_guard lock(mutex_);
	threads_--;
	wake();
	left_.notify_all();
}

int Mailbox::threads() const noexcept
{
	std::lock_guard lock(mutex_);
	return threads_;
}

void Mailbox::wake() noexcept
{
	eventfd_write(wake_fd_, 1);
}

}	// namespace pgbraid::nats
