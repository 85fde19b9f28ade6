#include "nats/mailbox.h"

#include "nats/signals.h"

#include <algorithm>
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
	for (auto &worker : workers_) {
		if (worker.thread.joinable())
			worker.thread.detach(); // stop() had no patience; the last of them may be the one that is here
	}
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
	if (event_fd_ >= 0)
		eventfd_write(event_fd_, 1);
}

bool Mailbox::stop(std::chrono::milliseconds patience) noexcept
{
	std::unique_lock lock(mutex_);
	stopping_ = true;
	event_fd_ = -1;
	if (auto connection = connection_.lock())
		connection->close();
	wake();
	bool all = ended_.wait_for(lock, patience, [this] { return all_ended(); });
	join_ended(lock);
	return all;
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

void Mailbox::run(std::function<void()> body)
{
	SignalsBlocked blocked;
	std::unique_lock lock(mutex_);
	join_ended(lock);
	auto &worker = workers_.emplace_back();
	try {
		worker.thread = std::thread([this, &worker, body = std::move(body)] {
			try {
				body();
			} catch (...) { // it would end the process; who waits for the body's result gives up after a while
			}
			std::lock_guard end(mutex_);
			worker.ended = true;
			wake();
			ended_.notify_all();
		});
	} catch (...) {
		workers_.remove_if([&worker](const Worker &other) { return &other == &worker; });
		throw;
	}
}

std::size_t Mailbox::threads() const
{
	std::lock_guard lock(mutex_);
	return static_cast<std::size_t>(
		std::count_if(workers_.begin(), workers_.end(), [](const Worker &worker) { return !worker.ended; }));
}

bool Mailbox::all_ended() const noexcept
{
	return std::all_of(workers_.begin(), workers_.end(), [](const Worker &worker) { return worker.ended; });
}

// Their last act under the lock is behind them, so that joining takes no time; without the lock all the same.
void Mailbox::join_ended(std::unique_lock<std::mutex> &lock) noexcept
{
	std::list<Worker> ended;
	for (auto worker = workers_.begin(); worker != workers_.end();) {
		auto next = std::next(worker);
		if (worker->ended)
			ended.splice(ended.end(), workers_, worker);
		worker = next;
	}
	lock.unlock();
	for (auto &worker : ended)
		worker.thread.join();
	lock.lock();
}

void Mailbox::wake() noexcept
{
	eventfd_write(wake_fd_, 1);
}

} // namespace pgbraid::nats
