#include "nats/link.h"

#include "nats/error.h"

#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>

namespace pgbraid::nats {
namespace {

// A peer that vanished without a word is noticed by the kernel, so that no thread has to ask.
void watch_peer(int socket)
{
	int on = 1, idle = 10, interval = 5, probes = 3, unacknowledged = 20000;
	setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
	setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
	setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
#ifdef TCP_USER_TIMEOUT
	setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof unacknowledged);
#endif
}

natsStatus attach(void **user_data, void *loop, natsConnection *connection, natsSock socket)
{
	auto link = static_cast<Link *>(loop);
	link->connection = connection;
	link->original = socket;
	fcntl(socket, F_SETFD, FD_CLOEXEC);
	watch_peer(socket);
	link->socket = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	*user_data = link;
	return link->socket >= 0 ? NATS_OK : NATS_ERR;
}

natsStatus want_read(void *user_data, bool add)
{
	auto link = static_cast<Link *>(user_data);
	if (!add) {
		shutdown(link->socket, SHUT_RDWR);
		link->gone = true;
#if NATS_VERSION_NUMBER >= 0x030b00
		natsConnection_ProcessCloseEvent(&link->original);
#endif
	}
	return NATS_OK;
}

natsStatus want_write(void *user_data, bool add)
{
	static_cast<Link *>(user_data)->writing = add;
	return NATS_OK;
}

natsStatus detach([[maybe_unused]] void *user_data)
{
#if NATS_VERSION_NUMBER >= 0x030b00
	natsConnection_ProcessDetachedEvent(static_cast<Link *>(user_data)->connection);
#endif
	return NATS_OK;
}

#if NATS_VERSION_NUMBER >= 0x030500
void ignore_error(natsConnection *, natsSubscription *, natsStatus, void *)
{
}
#endif

} // namespace

Link::Link() : wake_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
{
	if (wake_fd < 0)
		throw std::system_error(errno, std::generic_category(), "eventfd");
}

Link::~Link()
{
	::close(wake_fd);
	if (socket >= 0)
		::close(socket);
}

void Link::wake() noexcept
{
	[[maybe_unused]] int result = eventfd_write(wake_fd, 1);
}

void Link::drain() noexcept
{
	eventfd_t count;
	[[maybe_unused]] int result = eventfd_read(wake_fd, &count);
}

// TLS may be on without our asking, since a server that requires it gets it. Its records begin with a byte that no line
// of NATS' protocol begins with, and the first answer to a request of ours is at the beginning of one or the other.
void Link::listen_in() noexcept
{
	constexpr unsigned char first_record_type = 0x14, last_record_type = 0x18;
	unsigned char first = 0;
	if (speech != Speech::unknown || recv(socket, &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
		return;
	speech = first >= first_record_type && first <= last_record_type ? Speech::secured : Speech::clear;
}

bool Link::write_out() noexcept
{
	while (has_out()) {
		auto rest = out.view(out_written);
		ssize_t sent = send(socket, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		out_written += static_cast<std::size_t>(sent);
	}
	out.clear();
	out_written = 0;
	return true;
}

natsStatus Link::listen(natsOptions *options)
{
	natsStatus status = natsOptions_SetEventLoop(options, this, attach, want_read, want_write, detach);
#if NATS_VERSION_NUMBER >= 0x030500
	natsErrHandler handler = ignore_error; // for none it would print them
#else
	natsErrHandler handler = nullptr;
#endif
	if (status == NATS_OK)
		status = natsOptions_SetErrorHandler(options, handler, nullptr);
	return status;
}

} // namespace pgbraid::nats
