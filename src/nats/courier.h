// Carries messages to subjects, and what comes in on one subject, over a connection that is made again for ever. What
// is handed over while there is none is lost, as NATS' messages are: who needs an answer sends again.
//
// All work happens on one thread of its own (every signal blocked); whoever owns the courier never blocks, and sleeps
// on an eventfd that is written whenever something came in or the connection changed.
#pragma once
#include "nats/connection.h"

#include <memory>

namespace pgbraid::nats {

class Route;

struct Letter {
	std::string subject, reply, headers, payload; // headers as in Outgoing
};

class Courier {
public:
	struct Condition {
		bool connected = false;
		bool broken = false;		   // the thread has ended and will not go on
		std::uint64_t connections = 0; // so far
		std::uint64_t errors = 0;	   // so far, so that a new one can be told from an old one
		std::optional<Error> error;	   // the latest
		std::size_t max_payload = 0;   // that the server takes; 0 before the first connection
	};

	// `event_fd`: an eventfd that the courier writes and never reads or closes; must outlive it.
	Courier(ConnectionOptions options, std::string inbox, int event_fd);
	~Courier(); // stop() with no patience

	void start(); // makes the thread; throws std::system_error if there is none to be had
	void send(std::vector<Letter> letters);
	std::vector<Connection::Heard> take(std::size_t most); // of what came in, in order
	Condition condition() const;

	// See Publisher::stop.
	bool stop(std::chrono::milliseconds patience) noexcept;

private:
	ConnectionOptions options_;
	std::string inbox_;
	std::shared_ptr<Route> route_;
};

} // namespace pgbraid::nats
