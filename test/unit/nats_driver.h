// A publisher and the numbered messages that it is given. The message that has number n in its payload must become
// sequence n of the stream, however the server and the network behave.
#pragma once
#include "nats/publisher.h"
#include "nats_stream_reader.h"

#include <functional>
#include <sys/eventfd.h>

namespace pgbraid::test {

inline const core::History history{7000000000000000001, "1-1"};

inline nats::PublisherOptions publisher_options(const std::string &url, const std::string &stream = "S")
{
	nats::PublisherOptions options;
	options.connection = at(url);
	options.stream = {stream, "pgbraid test", {"t.>"}, 1};
	options.history = history;
	options.retry_delay = milliseconds(10);
	options.retry_delay_max = milliseconds(200);
	return options;
}

class Driver {
public:
	using Progress = nats::Publisher::Progress;

	explicit Driver(nats::PublisherOptions options)
		: event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), publisher_(std::move(options), event_)
	{
		publisher_.start();
	}
	~Driver()
	{
		publisher_.stop(milliseconds(5000));
		close(event_);
	}
	Driver(const Driver &) = delete;
	Driver &operator=(const Driver &) = delete;

	std::string headers; // of the messages made from now on

	std::unique_ptr<core::Batch> batch(std::size_t messages, const std::string &subject = "t.a", std::size_t size = 0)
	{
		auto made = std::make_unique<core::Batch>();
		for (std::size_t i = 0; i < messages; i++) {
			submitted_++;
			made->begin(subject, history, {1000 + submitted_, submitted_ % 7}, headers);
			auto text = std::to_string(submitted_) + " ";
			made->payload().append(text);
			if (text.size() < size)
				made->payload().append(std::string(size - text.size(), 'x'));
			made->end();
		}
		made->complete_up_to(1000 + submitted_);
		return made;
	}
	void submit(std::size_t messages, const std::string &subject = "t.a", std::size_t size = 0)
	{
		publisher_.submit(batch(messages, subject, size));
	}

	// Sleeps on the eventfd, as an owner does, until the condition holds.
	bool wait(const std::function<bool(const Progress &)> &condition, milliseconds patience = milliseconds(30000))
	{
		auto end = std::chrono::steady_clock::now() + patience;
		while (!condition(publisher_.progress())) {
			auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
			if (left.count() <= 0)
				return false;
			pollfd fd{event_, POLLIN, 0};
			poll(&fd, 1, static_cast<int>(left.count()));
			eventfd_t count;
			eventfd_read(event_, &count);
		}
		return true;
	}
	bool wait_acknowledged(milliseconds patience = milliseconds(30000))
	{
		return wait([this](const Progress &p) { return p.acknowledged_messages == submitted_; }, patience);
	}
	bool wait_error(const std::string &sqlstate)
	{
		return wait([&](const Progress &p) { return p.error && p.error->sqlstate == sqlstate; });
	}

	nats::Publisher &publisher() { return publisher_; }
	Progress progress() const { return publisher_.progress(); }
	std::uint64_t submitted() const { return submitted_; }
	void count_from(std::uint64_t submitted) { submitted_ = submitted; }

private:
	int event_;
	nats::Publisher publisher_;
	std::uint64_t submitted_ = 0;
};

// The stream holds the messages 1 to `count`, each at its own sequence, and nothing else.
inline void expect_exactly(const nats::Connection &connection, std::uint64_t count, const std::string &stream = "S")
{
	ASSERT_EQ(last_sequence(connection, stream), count);
	for (std::uint64_t i = 1; i <= count; i++) {
		auto message = stored(connection, stream, i);
		ASSERT_EQ(message.payload.substr(0, message.payload.find(' ')), std::to_string(i));
	}
}

} // namespace pgbraid::test
