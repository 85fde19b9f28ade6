// HTTP requests, many at a time, that never block: the C++ face of libcurl. Whoever owns the calls sleeps until fd() is
// readable or the timeout is over, and then asks for what has ended. libcurl may start a thread to look up a name, so
// every call here is to be made with signals blocked where signals matter.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgbraid::http {

struct Request { // a POST
	std::uint64_t id;
	std::string url; // http or https; redirects are not followed
	std::string body;
	std::vector<std::string> headers; // "name: value"
	std::chrono::milliseconds timeout;
};

struct Response {
	std::uint64_t id;
	long status = 0;				// 0: there was none, and
	const char *sqlstate = nullptr; // says why
	std::string error;
	std::string body; // its first 64 kB
};

class Calls {
public:
	Calls(); // throws std::runtime_error
	~Calls();
	Calls(const Calls &) = delete;
	Calls &operator=(const Calls &) = delete;

	void start(const Request &request);
	void abort(std::uint64_t id); // as if it had never been started
	std::vector<Response> perform();

	std::size_t size() const noexcept;
	int fd() const noexcept;
	std::optional<std::chrono::milliseconds> timeout() const; // nothing: no need to look before fd() is readable

private:
	struct State;
	std::unique_ptr<State> state_;
};

} // namespace pgbraid::http
