#include "nats/threads.h"

#include "nats/signals.h"

#include <algorithm>
#include <cerrno>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace pgbraid::nats {

Threads::Threads(int event_fd) : event_fd_(event_fd), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
{
	if (wake_fd_ < 0)
		throw std::system_error(errno, std::generic_category(), "eventfd");
}

Threads::~Threads()
{
	for (auto &worker : workers_) {
		if (worker.thread.joinable())
			worker.thread.detach(); // stop() had no patience; the last of them may be the one that is here
	}
	::close(wake_fd_);
}

bool Threads::stop(std::chrono::milliseconds patience) noexcept
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

void Threads::use(const std::shared_ptr<Connection> &connection)
{
	std::lock_guard lock(mutex_);
	connection_ = connection;
	if (stopping_ && connection)
		connection->close();
}

void Threads::drain() noexcept
{
	eventfd_t count;
	eventfd_read(wake_fd_, &count);
}

void Threads::run(std::function<void()> body)
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

std::size_t Threads::threads() const
{
	std::lock_guard lock(mutex_);
	return static_cast<std::size_t>(
		std::count_if(workers_.begin(), workers_.end(), [](const Worker &worker) { return !worker.ended; }));
}

bool Threads::all_ended() const noexcept
{
	return std::all_of(workers_.begin(), workers_.end(), [](const Worker &worker) { return worker.ended; });
}

// Their last act under the lock is behind them, so that joining takes no time; without the lock all the same.
void Threads::join_ended(std::unique_lock<std::mutex> &lock) noexcept
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

void Threads::wake() noexcept
{
	eventfd_write(wake_fd_, 1);
}

void Threads::wake_owner() noexcept
{
	if (event_fd_ >= 0)
		eventfd_write(event_fd_, 1);
}

} // namespace pgbraid::nats
