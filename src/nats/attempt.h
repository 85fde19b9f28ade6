// An attempt to connect, on a thread of its own: libnats can sit in one for long (a name server that is away) or for
// ever (before 3.7: a server that falls silent within the handshake), and does not let itself be interrupted. An
// attempt that takes too long is left behind; its thread cleans up after itself whenever it ends.
#pragma once
#include "nats/connection.h"
#include "nats/mailbox.h"

namespace pgbraid::nats {

class Attempt {
public:
	// Wakes the mailbox when it ends. Throws std::system_error if there is no thread to be had.
	Attempt(std::shared_ptr<Mailbox> mailbox, const ConnectionOptions &options);
	~Attempt(); // leaves it behind

	bool finished() const;
	Result<std::shared_ptr<Connection>> result(); // once, when finished

private:
	struct State;
	std::shared_ptr<State> state_;
};

} // namespace pgbraid::nats
