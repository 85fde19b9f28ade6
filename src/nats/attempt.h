// An attempt to connect, on a thread of its own: libnats can sit in one for long (a name server that is away) or for
// ever (before 3.7: a server that falls silent within the handshake), and does not let itself be interrupted. An
// attempt that takes too long is left behind; its thread cleans up after itself whenever it ends.
#pragma once
#include "nats/connection.h"
#include "nats/threads.h"

namespace pgbraid::nats {

class Attempt {
public:
	// Wakes the threads when it ends. Throws std::system_error if there is no thread to be had.
	Attempt(std::shared_ptr<Threads> threads, const ConnectionOptions &options);
	~Attempt(); // leaves it behind

	bool finished() const;
	Result<std::shared_ptr<Connection>> result(); // once, when finished

private:
	struct State;
	std::shared_ptr<State> state_;
};

// One attempt, with patience for each URL. 57014 when the threads are to stop; else as Connection::open, or 08001.
Result<std::shared_ptr<Connection>> connect_patiently(const std::shared_ptr<Threads> &threads,
													  const ConnectionOptions &options);

// How long until then; at most a minute, at least nothing.
std::chrono::milliseconds time_until(std::chrono::steady_clock::time_point when);

} // namespace pgbraid::nats
