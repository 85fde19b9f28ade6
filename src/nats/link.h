// The state that a Connection shares with libnats' callbacks, all of which run within the calls of whoever pumps it.
// libnats' callbacks for errors and for the end of a connection are not used: they run on a thread of libnats that
// nobody can wait for, which then may free what is left of a connection while the process exits.
#pragma once
#include "core/base/bytes.h"
#include "nats/connection.h"

#include <atomic>
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
	natsStatus listen(natsOptions *options);

	int socket = -1; // a duplicate of libnats' socket: valid whenever libnats decides to close its own
	int wake_fd = -1;
	natsConnection *connection = nullptr; // what libnats attached, and its own socket: since 3.11 it leaves to us
	natsSock original = -1;				  // when to let go of them
	std::atomic<bool> writing = false, closing = false, gone = false; // gone: libnats has closed it

	// Messages go past libnats, which allocates for each header and wakes a thread for each message, where the
	// connection is known to be in clear text. All of libnats' own writing happens in our calls, so that what is begun
	// by the one is ended before the other writes: `out` from `out_written` on is what the socket did not take of ours.
	enum class Speech { unknown, clear, secured };
	bool is_clear() const noexcept { return speech == Speech::clear; }
	bool has_out() const noexcept { return out_written < out.size(); }
	void listen_in() noexcept; // to find out, when the socket is readable
	bool write_out() noexcept; // false: the connection is broken
	Speech speech = Speech::unknown;
	core::Bytes out;
	std::size_t out_written = 0;
	std::int64_t max_payload = 0;

	std::optional<Error> complaint;
	std::string complained; // its words: libnats keeps showing the latest
};

} // namespace pgbraid::nats
