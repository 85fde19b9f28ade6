#include "nats/connection.h"

#include "nats/dial.h"
#include "nats/error.h"
#include "nats/link.h"
#include "nats/signals.h"

#include <algorithm>
#include <poll.h>
#include <sys/socket.h>

namespace pgbraid::nats {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int most_heard = 100000; // messages that nobody has looked at yet; those beyond are lost

milliseconds time_left(steady_clock::time_point deadline)
{
	auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
	return std::max(left, milliseconds(0));
}

} // namespace

Result<Connection> Connection::open(const ConnectionOptions &options)
{
	SignalsBlocked blocked;
	if (auto files = check_files(options); !files.ok())
		return files.error();
	std::optional<Error> error;
	for (auto &url : options.urls) {
		auto endpoint = parse_endpoint(url);
		if (!endpoint.ok())
			return endpoint.error();
		Connection connection;
		connection.timeout_ = options.timeout;
		connection.link_ = std::make_shared<Link>();
		if (demands_tls(options, *endpoint))
			connection.link_->speech = Link::Speech::secured;
		auto made = make_options(options, *endpoint, *connection.link_);
		if (!made.ok())
			return made.error();
		natsStatus status = natsConnection_Connect(&connection.handle_, made->get());
		if (status == NATS_OK) {
			connection.link_->max_payload = natsConnection_GetMaxPayload(connection.handle_);
			if (auto subscribed = connection.subscribe(); !subscribed.ok())
				return subscribed.error();
			return connection;
		}
		if (!error)
			error = connect_error(status, options, *endpoint);
		else
			error->detail +=
				(error->detail.empty() ? "" : " ") + connect_error(status, options, *endpoint).message + ".";
	}
	return error.value_or(Error{sqlstate::invalid_parameter, "no URL of NATS is given", {}, {}});
}

Status Connection::subscribe()
{
	if (natsConnection_HasHeaderSupport(handle_) != NATS_OK)
		return Error{sqlstate::not_supported,
					 "this NATS server does not support headers",
					 {},
					 "JetStream needs nats-server 2.2 or later."};
	natsInbox *inbox = nullptr;
	natsStatus status = natsInbox_Create(&inbox);
	if (status == NATS_OK) {
		request_prefix_ = std::string(inbox) + ".r.";
		reply_prefix_ = std::string(inbox) + ".a.";
		natsInbox_Destroy(inbox);
		status = natsConnection_SubscribeSync(&requests_, handle_, (request_prefix_ + "*").c_str());
	}
	if (status == NATS_OK)
		status = natsConnection_SubscribeSync(&answers_, handle_, (reply_prefix_ + "*").c_str());
	if (status != NATS_OK)
		return Error{sqlstate::connection_failure, "could not subscribe to answers of NATS: " + status_text(status)};
	return core::Nothing{};
}

Connection::Connection(Connection &&other) noexcept
{
	*this = std::move(other);
}

Connection &Connection::operator=(Connection &&other) noexcept
{
	std::swap(handle_, other.handle_);
	std::swap(requests_, other.requests_);
	std::swap(answers_, other.answers_);
	std::swap(heard_, other.heard_);
	std::swap(link_, other.link_);
	std::swap(request_prefix_, other.request_prefix_);
	std::swap(reply_prefix_, other.reply_prefix_);
	std::swap(timeout_, other.timeout_);
	std::swap(round_trip_, other.round_trip_);
	std::swap(request_count_, other.request_count_);
	return *this;
}

Connection::~Connection()
{
	if (handle_ == nullptr)
		return;
	close();
	// Let libnats see the end of the stream itself: asked to close, it would wait for an answer to a last PING.
	for (int i = 0; i < 1000 && !natsConnection_IsClosed(handle_); i++)
		natsConnection_ProcessReadEvent(handle_);
	natsSubscription_Destroy(requests_);
	natsSubscription_Destroy(answers_);
	natsSubscription_Destroy(heard_);
	natsConnection_Destroy(handle_);
}

void Connection::close() noexcept
{
	link_->closing = true;
	shutdown(link_->socket, SHUT_RDWR);
	link_->wake();
}

bool Connection::closed() const noexcept
{
	return link_->closing || link_->gone || natsConnection_IsClosed(handle_);
}

std::string Connection::close_reason() const
{
	const char *text = nullptr;
	natsStatus status = natsConnection_GetLastError(handle_, &text);
	return text != nullptr && *text != '\0' ? text : status != NATS_OK ? natsStatus_GetText(status) : "";
}

void Connection::pump(milliseconds timeout, int wake_fd) const
{
	short writable = writing() ? POLLOUT : 0;
	pollfd fds[] = {
		{link_->socket, static_cast<short>(POLLIN | writable), 0}, {link_->wake_fd, POLLIN, 0}, {wake_fd, POLLIN, 0}};
	if (poll(fds, 3, static_cast<int>(timeout.count())) <= 0)
		return;
	if (fds[1].revents != 0)
		link_->drain();
	if (fds[0].revents & POLLOUT)
		flush();
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
		link_->listen_in();
		natsConnection_ProcessReadEvent(handle_);
		link_->max_payload = natsConnection_GetMaxPayload(handle_); // it may have changed
	}
	note_errors();
}

void Connection::note_errors() const
{
	const char *text = nullptr;
	natsStatus status = natsConnection_GetLastError(handle_, &text);
	if ((status == NATS_NOT_PERMITTED || status == NATS_CONNECTION_AUTH_FAILED) && link_->complained != text) {
		link_->complained = text;
		link_->complaint = permission_error(text);
	}
}

void Connection::flush() const
{
	bool ours_first = link_->out_written > 0; // half a message is in the socket
	if (!ours_first && link_->writing)		  // libnats takes nothing to write for the end of the connection
		natsConnection_ProcessWriteEvent(handle_);
	if (!ours_first && link_->writing)
		return;
	if (!link_->write_out()) {
		natsConnection_ProcessReadEvent(handle_); // the server may have said why
		link_->gone = true;
	} else if (!link_->has_out() && link_->writing) {
		natsConnection_ProcessWriteEvent(handle_);
	}
}

bool Connection::writing() const noexcept
{
	return link_->writing || link_->has_out();
}

Status Connection::publish(const Outgoing &message) const
{
	if (static_cast<std::int64_t>(message.size()) > max_payload())
		return Error{sqlstate::limit_exceeded, "the message is larger than the NATS server takes"};
	if (!link_->is_clear())
		return publish_by_library(message);
	append_publish(link_->out, message);
	return core::Nothing{};
}

namespace {

natsStatus set_headers(natsMsg *message, std::string_view lines)
{
	natsStatus status = NATS_OK;
	while (status == NATS_OK && !lines.empty()) {
		auto colon = lines.find(": "), end = lines.find("\r\n");
		std::string name(lines.substr(0, colon)), value(lines.substr(colon + 2, end - colon - 2));
		status = natsMsgHeader_Set(message, name.c_str(), value.c_str());
		lines.remove_prefix(end + 2);
	}
	return status;
}

} // namespace

Status Connection::publish_by_library(const Outgoing &message) const
{
	natsMsg *made = nullptr;
	std::string subject(message.subject), reply(message.reply);
	natsStatus status = natsMsg_Create(&made, subject.c_str(), reply.empty() ? nullptr : reply.c_str(),
									   message.payload.data(), static_cast<int>(message.payload.size()));
	if (status == NATS_OK)
		status = set_headers(made, message.headers);
	if (status == NATS_OK)
		status = natsConnection_PublishMsg(handle_, made);
	natsMsg_Destroy(made);
	if (status == NATS_NO_MEMORY)
		throw std::bad_alloc();
	if (status == NATS_MAX_PAYLOAD)
		return Error{sqlstate::limit_exceeded, "the message is larger than the NATS server takes"};
	if (status != NATS_OK)
		return Error{sqlstate::connection_failure, "could not publish to NATS: " + status_text(status)};
	return core::Nothing{};
}

Result<Connection::Reply> Connection::request(const std::string &subject, std::string_view payload) const
{
	std::string reply = request_prefix_ + std::to_string(++request_count_);
	natsStatus status = natsConnection_PublishRequest(handle_, subject.c_str(), reply.c_str(), payload.data(),
													  static_cast<int>(payload.size()));
	auto begin = steady_clock::now();
	flush();
	while (status == NATS_OK && !closed()) {
		natsMsg *message = nullptr;
		status = natsSubscription_NextMsg(&message, requests_, 0);
		if (status == NATS_NO_RESPONDERS)
			return Reply{true, {}};
		if (status == NATS_OK && reply == natsMsg_GetSubject(message)) {
			Reply result{false, {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))}};
			natsMsg_Destroy(message);
			round_trip_ = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - begin);
			return result;
		}
		natsMsg_Destroy(message);
		if (status != NATS_TIMEOUT)
			continue;
		if (auto trouble = complaint())
			return *trouble;
		auto left = time_left(begin + timeout_);
		if (left.count() == 0)
			return Error{
				sqlstate::connection_failure, "NATS did not answer to " + subject + " in time", {}, look_at_server};
		pump(left);
		status = NATS_OK;
	}
	if (link_->closing)
		return Error{sqlstate::canceled, "canceled while waiting for NATS"};
	auto reason = close_reason();
	return Error{sqlstate::connection_failure,
				 "the connection to NATS was lost" + (reason.empty() ? "" : ": " + reason)};
}

std::optional<Connection::Answer> Connection::next_answer() const
{
	natsMsg *message = nullptr;
	natsStatus status = natsSubscription_NextMsg(&message, answers_, 0);
	if (status == NATS_NO_RESPONDERS)
		return Answer{};
	if (status != NATS_OK)
		return std::nullopt;
	Answer answer{natsMsg_GetSubject(message) + reply_prefix_.size(),
				  {natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))}};
	natsMsg_Destroy(message);
	return answer;
}

Status Connection::listen(const std::string &subject)
{
	SignalsBlocked blocked;
	natsStatus status = natsConnection_SubscribeSync(&heard_, handle_, subject.c_str());
	if (status == NATS_OK)
		status = natsSubscription_SetPendingLimits(heard_, most_heard, -1);
	if (status != NATS_OK)
		return Error{sqlstate::connection_failure, "could not subscribe to " + subject + ": " + status_text(status)};
	return core::Nothing{};
}

// Where it is told that nobody listens, it is not told on which subject: that is of no use.
std::optional<Connection::Heard> Connection::next_heard() const
{
	natsMsg *message = nullptr;
	natsStatus status = NATS_NO_RESPONDERS;
	while (status == NATS_NO_RESPONDERS || status == NATS_SLOW_CONSUMER)
		status = natsSubscription_NextMsg(&message, heard_, 0);
	if (status != NATS_OK)
		return std::nullopt;
	const char *reply = natsMsg_GetReply(message);
	Heard heard{natsMsg_GetSubject(message),
				reply != nullptr ? reply : "",
				{natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))}};
	natsMsg_Destroy(message);
	return heard;
}

std::optional<Error> Connection::complaint() const
{
	return std::exchange(link_->complaint, std::nullopt);
}

std::string Connection::connected_url() const
{
	char url[1024] = "";
	natsConnection_GetConnectedUrl(handle_, url, sizeof url);
	return url;
}

std::int64_t Connection::max_payload() const
{
	return link_->max_payload;
}

} // namespace pgbraid::nats
