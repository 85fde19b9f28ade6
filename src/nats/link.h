// The state that libnats' callbacks share with a Connection. It outlives both: libnats calls back on a thread of its own
// until it has reported the end of the connection, and `last_callback` keeps the state until then.
#pragma once
#include "nats/connection.h"

#include <atomic>
#include <mutex>
#include <nats/nats.h>

namespace pgbraid::nats {

struct Link {
	Link();
	~Link();
	Link(const Link &) = delete;
	Link &operator=(const Link &) = delete;

	void wake() noexcept;
	void drain() noexcept;

	// Makes libnats call us instead of starting threads for reading and writing.
	static natsStatus listen(natsOptions *options, const std::shared_ptr<Link> &link);

	Connection::Events events;
	int socket = -1;		// a duplicate of libnats' socket: valid whenever libnats decides to close its own
	int wake_fd = -1;
	natsConnection *connection = nullptr;	// what libnats attached, and its own socket: since 3.11 it leaves to us
	natsSock original = -1;					// when to let go of them
	std::atomic<bool> writing = false, closing = false, gone = false;	// gone: libnats has closed it
	std::mutex mutex;
	std::optional<Error> complaint;
	std::string close_reason;
	std::shared_ptr<Link> last_callback;	// itself, from a successful connection to libnats' last callback
};

}	// namespace pgbraid::nats
