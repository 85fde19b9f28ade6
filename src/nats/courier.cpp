#include "nats/courier.h"

#include "core/base/backoff.h"
#include "nats/attempt.h"
#include "nats/error.h"

#include <algorithm>
#include <deque>
#include <poll.h>
#include <random>

namespace pgbraid::nats {

// What the owner and the thread have in common.
class Route : public Threads {
public:
	using Threads::Threads;

	void send(std::vector<Letter> letters)
	{
		std::lock_guard lock(mutex_);
		outgoing_.insert(outgoing_.end(), std::make_move_iterator(letters.begin()),
						 std::make_move_iterator(letters.end()));
		wake();
	}

	std::vector<Connection::Heard> take(std::size_t most)
	{
		std::lock_guard lock(mutex_);
		auto end = incoming_.begin() + static_cast<std::ptrdiff_t>(std::min(most, incoming_.size()));
		std::vector<Connection::Heard> taken(std::make_move_iterator(incoming_.begin()), std::make_move_iterator(end));
		incoming_.erase(incoming_.begin(), end);
		return taken;
	}

	Courier::Condition condition() const
	{
		std::lock_guard lock(mutex_);
		return condition_;
	}

	// For the thread.
	std::vector<Letter> outgoing()
	{
		std::lock_guard lock(mutex_);
		return std::exchange(outgoing_, {});
	}

	void bring(std::vector<Connection::Heard> heard)
	{
		std::lock_guard lock(mutex_);
		incoming_.insert(incoming_.end(), std::make_move_iterator(heard.begin()), std::make_move_iterator(heard.end()));
		wake_owner();
	}

	bool is_full() const
	{
		std::lock_guard lock(mutex_);
		return incoming_.size() >= most_incoming;
	}

	void note_connected(std::int64_t max_payload)
	{
		std::lock_guard lock(mutex_);
		condition_.connected = true;
		condition_.connections++;
		condition_.max_payload = static_cast<std::size_t>(max_payload);
		outgoing_.clear(); // answers to who has asked again meanwhile
		wake_owner();
	}

	void break_off(const Error &error)
	{
		note_error(error, false);
		std::lock_guard lock(mutex_);
		condition_.broken = true;
		wake_owner();
	}

	void note_error(const Error &error, bool is_connected)
	{
		std::lock_guard lock(mutex_);
		condition_.connected = is_connected;
		condition_.error = error;
		condition_.errors++;
		wake_owner();
	}

private:
	static constexpr std::size_t most_incoming = 20000; // the rest waits within libnats
	std::vector<Letter> outgoing_;
	std::deque<Connection::Heard> incoming_;
	Courier::Condition condition_;
};

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds retry_delay{100}, retry_delay_max{5000};
constexpr std::size_t most_at_once = 1000;

// The thread of a courier.
class Carrier {
public:
	Carrier(std::shared_ptr<Route> route, ConnectionOptions options, std::string inbox)
		: route_(std::move(route)), options_(std::move(options)), inbox_(std::move(inbox))
	{
	}

	void run()
	{
		while (!route_->stopping()) {
			if (connect())
				carry();
			connection_.reset();
			pause();
		}
	}

private:
	bool connect()
	{
		auto connected = connect_patiently(route_, options_);
		if (!connected.ok())
			return fail(connected.error());
		connection_ = std::move(*connected);
		if (auto listens = connection_->listen(inbox_); !listens.ok())
			return fail(listens.error());
		route_->use(connection_);
		route_->note_connected(connection_->max_payload());
		return true;
	}

	bool fail(const Error &error)
	{
		failures_++;
		route_->note_error(error, false);
		return false;
	}

	void carry()
	{
		auto begin = Clock::now();
		while (!route_->stopping() && !connection_->closed()) {
			deliver();
			collect();
			if (auto trouble = connection_->complaint())
				route_->note_error(*trouble, true);
			connection_->pump(route_->is_full() ? milliseconds(10) : milliseconds(60000), route_->wake_fd());
			route_->drain();
		}
		if (Clock::now() - begin > retry_delay_max)
			failures_ = 0;
		auto reason = connection_->close_reason();
		if (!route_->stopping())
			fail({sqlstate::connection_failure,
				  "the connection to NATS was lost" + (reason.empty() ? "" : ": " + reason)});
	}

	void deliver()
	{
		for (auto &letter : route_->outgoing()) {
			auto sent = connection_->publish({letter.subject, letter.reply, letter.headers, letter.payload});
			if (!sent.ok())
				route_->note_error(sent.error(), true);
		}
		connection_->flush();
	}

	void collect()
	{
		while (!route_->is_full()) {
			std::vector<Connection::Heard> heard;
			while (heard.size() < most_at_once) {
				auto next = connection_->next_heard();
				if (!next)
					break;
				heard.push_back(std::move(*next));
			}
			bool is_all = heard.size() < most_at_once;
			if (!heard.empty())
				route_->bring(std::move(heard));
			if (is_all)
				return;
		}
	}

	void pause()
	{
		auto jitter = static_cast<std::uint32_t>(random_()) << 1;
		auto end = Clock::now() + core::backoff(failures_, retry_delay, retry_delay_max, jitter);
		while (!route_->stopping() && Clock::now() < end) {
			pollfd fd{route_->wake_fd(), POLLIN, 0};
			poll(&fd, 1, static_cast<int>(time_until(end).count()));
			route_->drain();
		}
	}

	std::shared_ptr<Route> route_;
	ConnectionOptions options_;
	std::string inbox_;
	std::shared_ptr<Connection> connection_;
	unsigned failures_ = 0; // in a row
	std::minstd_rand random_{std::random_device{}()};
};

} // namespace

Courier::Courier(ConnectionOptions options, std::string inbox, int event_fd)
	: options_(std::move(options)), inbox_(std::move(inbox)), route_(std::make_shared<Route>(event_fd))
{
}

Courier::~Courier()
{
	stop(milliseconds(0));
}

void Courier::start()
{
	route_->run([route = route_, options = options_, inbox = inbox_] {
		try {
			Carrier(route, options, inbox).run();
		} catch (const std::exception &exception) {
			route->break_off({"XX000", std::string("carrying messages over NATS failed: ") + exception.what()});
		}
		route->use(nullptr);
	});
}

void Courier::send(std::vector<Letter> letters)
{
	if (!letters.empty())
		route_->send(std::move(letters));
}

std::vector<Connection::Heard> Courier::take(std::size_t most)
{
	return route_->take(most);
}

Courier::Condition Courier::condition() const
{
	return route_->condition();
}

bool Courier::stop(milliseconds patience) noexcept
{
	return route_->stop(patience);
}

} // namespace pgbraid::nats
