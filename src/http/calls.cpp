#include "http/calls.h"

#include "core/base/sqlstate.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <curl/curl.h>
#include <map>
#include <stdexcept>
#include <sys/epoll.h>
#include <system_error>
#include <unistd.h>

namespace pgbraid::http {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
namespace sqlstate = core::sqlstate;

constexpr std::size_t most_body = 64 << 10;

// One request under way.
struct Call {
	CURL *handle = nullptr;
	curl_slist *headers = nullptr;
	std::string body, answer;
	std::array<char, CURL_ERROR_SIZE> reason{};

	Call() = default;
	~Call()
	{
		curl_easy_cleanup(handle);
		curl_slist_free_all(headers);
	}
	Call(const Call &) = delete;
	Call &operator=(const Call &) = delete;
};

// No exception may pass libcurl.
std::size_t take_body(char *data, std::size_t size, std::size_t count, void *to)
{
	auto &answer = *static_cast<std::string *>(to);
	try {
		answer.append(data, std::min(size * count, most_body - answer.size()));
	} catch (...) {
		return 0;
	}
	return size * count;
}

const char *sqlstate_of(CURLcode code)
{
	switch (code) {
		case CURLE_OPERATION_TIMEDOUT: return sqlstate::canceled;
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION: return sqlstate::connection_away;
		case CURLE_OUT_OF_MEMORY: return sqlstate::out_of_memory;
		default: return sqlstate::connection_failure;
	}
}

template <typename Value>
void set(CURL *handle, CURLoption option, Value value)
{
	if (CURLcode code = curl_easy_setopt(handle, option, value); code != CURLE_OK)
		throw std::runtime_error(std::string("libcurl: ") + curl_easy_strerror(code));
}

void allow_http_only(CURL *handle)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	set(handle, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

void add_header(Call &call, const std::string &line)
{
	curl_slist *longer = curl_slist_append(call.headers, line.c_str());
	if (longer == nullptr)
		throw std::bad_alloc();
	call.headers = longer;
}

void prepare(Call &call, const Request &request)
{
	call.handle = curl_easy_init();
	if (call.handle == nullptr)
		throw std::bad_alloc();
	call.body = request.body;
	for (auto &line : request.headers)
		add_header(call, line);
	add_header(call, "Expect:"); // nobody waits for a go-ahead
	allow_http_only(call.handle);
	set(call.handle, CURLOPT_URL, request.url.c_str());
	set(call.handle, CURLOPT_POSTFIELDS, call.body.c_str());
	set(call.handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(call.body.size()));
	set(call.handle, CURLOPT_HTTPHEADER, call.headers);
	set(call.handle, CURLOPT_USERAGENT, "pgbraid/" PGBRAID_VERSION);
	set(call.handle, CURLOPT_FOLLOWLOCATION, 0L);
	set(call.handle, CURLOPT_PROXY, ""); // what the environment of the server says is not meant for us
	set(call.handle, CURLOPT_NOSIGNAL, 1L);
	set(call.handle, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(request.timeout.count(), 1)));
	set(call.handle, CURLOPT_WRITEFUNCTION, take_body);
	set(call.handle, CURLOPT_WRITEDATA, &call.answer);
	set(call.handle, CURLOPT_ERRORBUFFER, call.reason.data());
}

int watch(CURL *, curl_socket_t socket, int what, void *user, void *known)
{
	auto [epoll, multi] = *static_cast<std::pair<int, CURLM *> *>(user);
	epoll_event event{};
	event.data.fd = socket;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(epoll, EPOLL_CTL_DEL, socket, &event);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (epoll_ctl(epoll, known != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event) < 0 && errno == EEXIST)
		epoll_ctl(epoll, EPOLL_CTL_MOD, socket, &event);
	curl_multi_assign(multi, socket, user);
	return 0;
}

int set_alarm(CURLM *, long timeout_ms, void *user)
{
	auto &alarm = *static_cast<std::optional<Clock::time_point> *>(user);
	if (timeout_ms < 0)
		alarm.reset();
	else
		alarm = Clock::now() + milliseconds(timeout_ms);
	return 0;
}

} // namespace

struct Calls::State {
	std::pair<int, CURLM *> watched{-1, nullptr}; // the epoll descriptor and what it is for
	std::optional<Clock::time_point> alarm;
	std::map<std::uint64_t, Call> calls;

	~State()
	{
		for (auto &[id, call] : calls)
			curl_multi_remove_handle(watched.second, call.handle);
		curl_multi_cleanup(watched.second);
		if (watched.first >= 0)
			::close(watched.first);
	}

	void collect(std::vector<Response> &ended);
};

Calls::Calls() : state_(std::make_unique<State>())
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		throw std::runtime_error("libcurl can't be used");
	state_->watched = {epoll_create1(EPOLL_CLOEXEC), curl_multi_init()};
	auto &[epoll, multi] = state_->watched;
	if (epoll < 0)
		throw std::system_error(errno, std::generic_category(), "epoll_create1");
	if (multi == nullptr)
		throw std::bad_alloc();
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, &state_->watched);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, set_alarm);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, &state_->alarm);
}

Calls::~Calls() = default;

void Calls::start(const Request &request)
{
	auto [place, is_new] = state_->calls.try_emplace(request.id);
	try {
		if (!is_new)
			throw std::runtime_error("a call of that number is under way");
		prepare(place->second, request);
		if (CURLMcode code = curl_multi_add_handle(state_->watched.second, place->second.handle); code != CURLM_OK)
			throw std::runtime_error(std::string("libcurl: ") + curl_multi_strerror(code));
	} catch (...) {
		if (is_new)
			state_->calls.erase(place);
		throw;
	}
}

void Calls::abort(std::uint64_t id)
{
	auto found = state_->calls.find(id);
	if (found == state_->calls.end())
		return;
	curl_multi_remove_handle(state_->watched.second, found->second.handle);
	state_->calls.erase(found);
}

std::vector<Response> Calls::perform()
{
	auto [epoll, multi] = state_->watched;
	int running = 0;
	std::array<epoll_event, 64> events;
	int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 0);
	for (int i = 0; i < count; i++) {
		auto &event = events[static_cast<std::size_t>(i)];
		int what = (event.events & EPOLLIN ? CURL_CSELECT_IN : 0) | (event.events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
				   (event.events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
		curl_multi_socket_action(multi, event.data.fd, what, &running);
	}
	if (state_->alarm && *state_->alarm <= Clock::now()) {
		state_->alarm.reset();
		curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	std::vector<Response> ended;
	state_->collect(ended);
	return ended;
}

void Calls::State::collect(std::vector<Response> &ended)
{
	int left = 0;
	while (CURLMsg *message = curl_multi_info_read(watched.second, &left)) {
		if (message->msg != CURLMSG_DONE)
			continue;
		CURLcode code = message->data.result;
		auto found = std::find_if(calls.begin(), calls.end(),
								  [&](const auto &each) { return each.second.handle == message->easy_handle; });
		Call &call = found->second;
		Response response{.id = found->first};
		if (code == CURLE_OK) {
			curl_easy_getinfo(call.handle, CURLINFO_RESPONSE_CODE, &response.status);
		} else {
			response.sqlstate = sqlstate_of(code);
			response.error = call.reason[0] != '\0' ? call.reason.data() : curl_easy_strerror(code);
		}
		response.body = std::move(call.answer);
		curl_multi_remove_handle(watched.second, call.handle);
		calls.erase(found);
		ended.push_back(std::move(response));
	}
}

std::size_t Calls::size() const noexcept
{
	return state_->calls.size();
}

int Calls::fd() const noexcept
{
	return state_->watched.first;
}

std::optional<milliseconds> Calls::timeout() const
{
	if (!state_->alarm)
		return std::nullopt;
	return std::max(std::chrono::ceil<milliseconds>(*state_->alarm - Clock::now()), milliseconds(0));
}

} // namespace pgbraid::http
