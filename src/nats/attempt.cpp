#include "nats/attempt.h"

#include "nats/error.h"

#include <algorithm>
#include <poll.h>

namespace pgbraid::nats {

struct Attempt::State {
	std::mutex mutex;
	bool left_behind = false;
	std::optional<Result<std::shared_ptr<Connection>>> result;
};

namespace {

constexpr std::size_t most_attempts = 4;				 // left behind
constexpr std::chrono::milliseconds attempt_slack{5000}; // for the name server

Result<std::shared_ptr<Connection>> connect(const ConnectionOptions &options)
{
	try {
		auto connection = Connection::open(options);
		if (!connection.ok())
			return connection.error();
		return std::make_shared<Connection>(std::move(*connection));
	} catch (const std::bad_alloc &) {
		return Error{sqlstate::out_of_memory, "out of memory"};
	} catch (const std::exception &exception) {
		return Error{sqlstate::connection_away, std::string("could not connect to NATS: ") + exception.what()};
	}
}

} // namespace

Attempt::Attempt(std::shared_ptr<Threads> threads, const ConnectionOptions &options) : state_(std::make_shared<State>())
{
	threads->run([state = state_, threads, options] {
		auto result = connect(options);
		std::lock_guard lock(state->mutex);
		if (!state->left_behind)
			state->result = std::move(result);
	});
}

Attempt::~Attempt()
{
	std::lock_guard lock(state_->mutex);
	state_->left_behind = true;
	state_->result.reset();
}

bool Attempt::finished() const
{
	std::lock_guard lock(state_->mutex);
	return state_->result.has_value();
}

Result<std::shared_ptr<Connection>> Attempt::result()
{
	std::lock_guard lock(state_->mutex);
	return std::move(*state_->result);
}

Result<std::shared_ptr<Connection>> connect_patiently(const std::shared_ptr<Threads> &threads,
													  const ConnectionOptions &options)
{
	auto end = std::chrono::steady_clock::now() + options.timeout * std::max<std::size_t>(options.urls.size(), 1) +
			   attempt_slack;
	if (threads->threads() > most_attempts)
		return Error{sqlstate::connection_away, "connections to NATS at " + printable(options.urls) + " hang"};
	Attempt attempt(threads, options);
	while (!attempt.finished()) {
		if (threads->stopping())
			return Error{sqlstate::canceled, "canceled while connecting to NATS"};
		if (std::chrono::steady_clock::now() >= end)
			return Error{sqlstate::connection_away, "NATS at " + printable(options.urls) + " does not answer"};
		pollfd fd{threads->wake_fd(), POLLIN, 0};
		poll(&fd, 1, static_cast<int>(time_until(end).count()));
		threads->drain();
	}
	return attempt.result();
}

std::chrono::milliseconds time_until(std::chrono::steady_clock::time_point when)
{
	using namespace std::chrono;
	auto left = std::min<nanoseconds>(when - steady_clock::now(), minutes(1));
	return std::max(ceil<milliseconds>(left), milliseconds(0));
}

} // namespace pgbraid::nats
