// A connection to NATS, driven by its owner: it has no thread of its own, so nothing is read or written unless a call
// that says so runs. Every call here may block; none may be made on a thread of PostgreSQL's. One thread at a time may
// use a Connection, except for close(), which is for the others.
#pragma once
#include "core/base/result.h"
#include "nats/wire.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct __natsConnection;
struct __natsMsg;
struct __natsSubscription;

namespace pgbraid::nats {

using core::Error;
using core::Result;
using core::Status;

// Empty means "not given". At most one of user, token, creds_file and nkey_seed_file is used, in that order.
struct ConnectionOptions {
	std::vector<std::string> urls; // nats:// or tls://, tried in turn; may carry user:password@ or token@
	std::string name;			   // shown by the server's monitoring
	std::string user, password, token;
	std::string creds_file;					 // JWT and seed, as `nsc` writes it
	std::string nkey_seed_file;				 // the seed alone; the public key is derived from it
	std::string tls_ca, tls_cert, tls_key;	 // PEM files; any of them, or a tls:// URL, turns TLS on, always verified
	std::chrono::milliseconds timeout{2000}; // of one connection attempt and of one request
	bool operator==(const ConnectionOptions &) const = default;
};

// "nats://a:4222, tls://b" -> its URLs. 22023 with a hint for an empty list or another scheme. User and password may
// be percent-encoded.
Result<std::vector<std::string>> parse_urls(std::string_view list);

// The URLs without user, password or token, for log lines and views.
std::string printable(const std::vector<std::string> &urls);

struct Link; // what libnats' callbacks see of a connection

class Connection {
public:
	// 08001 (away; hint names pgbraid.nats_url or the server option), 28000 / 28P01 (refused), 08P01, 53300 (the server
	// is full), 58P01 (a file that can't be read), 22023 (options). libnats' own reconnect is off: whoever uses a
	// Connection makes a new one. `timeout` bounds the attempt for each URL, except that libnats before 3.7 can hang in
	// a handshake when the server falls silent in the midst of it (see Attempt).
	static Result<Connection> open(const ConnectionOptions &options);

	Connection(Connection &&) noexcept;
	Connection &operator=(Connection &&) noexcept;
	~Connection();

	// Unblocks whatever another thread is doing with the connection. Thread-safe, never blocks, may be called twice.
	void close() noexcept;
	bool closed() const noexcept;
	std::string close_reason() const; // empty when nothing is known

	// Reads and writes what can be, or sleeps until something can, `wake_fd` is readable or the time is over. A
	// negative time means for ever.
	void pump(std::chrono::milliseconds timeout, int wake_fd = -1) const;
	// Writes what the socket takes now. Publishing alone only fills a buffer.
	void flush() const;
	bool writing() const noexcept; // the buffer holds something that the socket did not take

	// Puts a message into the buffer. 54000: the server does not take one of that size; 08006.
	Status publish(const Outgoing &message) const;

	// Publishes and pumps until the answer arrives. 08006 (no answer, lost), 42501 (not permitted), 57014 (close()).
	struct Reply {
		bool nobody_listens = false;
		std::string data;
	};
	Result<Reply> request(const std::string &subject, std::string_view payload) const;

	// Answers to messages published with reply subject reply_prefix() + one token. `token` stays empty when the server
	// said that nobody listens on the subject, since it does not say on which.
	struct Answer {
		std::string token, data;
	};
	const std::string &reply_prefix() const noexcept { return reply_prefix_; }
	std::optional<Answer> next_answer() const;

	// Messages on a subject, beside those answers. Once for each connection.
	struct Heard {
		std::string subject, reply, data;
	};
	Status listen(const std::string &subject);
	std::optional<Heard> next_heard() const;

	// A permission or authorization error that the server reported on its own account; told once. The same words are
	// not noticed again on this connection.
	std::optional<Error> complaint() const;

	std::string connected_url() const; // without credentials
	std::int64_t max_payload() const;
	std::chrono::microseconds round_trip() const noexcept { return round_trip_; } // of the latest request; 0: none yet

private:
	Connection() = default;
	Status subscribe();
	void note_errors() const;
	Status publish_by_library(const Outgoing &message) const;

	__natsConnection *handle_ = nullptr;
	__natsSubscription *requests_ = nullptr, *answers_ = nullptr, *heard_ = nullptr;
	std::shared_ptr<Link> link_;
	std::string request_prefix_, reply_prefix_;
	std::chrono::milliseconds timeout_{};
	mutable std::chrono::microseconds round_trip_{};
	mutable std::uint64_t request_count_ = 0;
};

} // namespace pgbraid::nats
