// A private nats-server on a free port of the loopback, with a directory of its own; both end with the object.
#pragma once
#include "nats/connection.h"

#include <arpa/inet.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace pgbraid::test {

using std::chrono::milliseconds;

// A socket on the loopback; port 0 takes a free one.
class Listener {
public:
	explicit Listener(int port = 0) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
	{
		int on = 1;
		setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		sockaddr_in address{};
		address.sin_family = AF_INET;
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		address.sin_port = htons(static_cast<std::uint16_t>(port));
		socklen_t size = sizeof address;
		if (bind(fd_, reinterpret_cast<sockaddr *>(&address), size) != 0 || listen(fd_, 16) != 0 ||
			getsockname(fd_, reinterpret_cast<sockaddr *>(&address), &size) != 0)
			throw std::runtime_error("no port to listen on");
		port_ = ntohs(address.sin_port);
	}
	~Listener() { close(fd_); }
	Listener(const Listener &) = delete;
	Listener &operator=(const Listener &) = delete;

	int fd() const { return fd_; }
	int port() const { return port_; }
	std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

private:
	int fd_, port_ = 0;
};

inline int connect_to(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sockaddr_in address{};
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons(static_cast<std::uint16_t>(port));
	if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0)
		return fd;
	close(fd);
	return -1;
}

class NatsServer {
public:
	static bool installed() { return std::system("nats-server --version >/dev/null 2>&1") == 0; }

	// `config`: further lines of the server's configuration. $DIR stands for the directory.
	explicit NatsServer(std::string config = "jetstream { store_dir: \"$DIR/js\" }") : config_(std::move(config))
	{
		char name[] = "/tmp/pgbraid-nats-XXXXXX";
		dir_ = mkdtemp(name);
		port_ = Listener().port();
		start();
	}
	~NatsServer()
	{
		stop(SIGKILL);
		std::filesystem::remove_all(dir_);
	}
	NatsServer(const NatsServer &) = delete;
	NatsServer &operator=(const NatsServer &) = delete;

	void configure(std::string config)
	{
		stop(SIGTERM);
		config_ = std::move(config);
		start();
	}
	void start()
	{
		std::string text = config_;
		for (std::size_t at; (at = text.find("$DIR")) != std::string::npos;)
			text.replace(at, 4, dir_);
		std::ofstream(dir_ + "/conf") << "host: 127.0.0.1\nport: " << port_ << "\nlog_file: \"" << dir_ << "/log\"\n"
									  << text << "\n";
		pid_ = fork();
		if (pid_ == 0) {
			execlp("nats-server", "nats-server", "-c", (dir_ + "/conf").c_str(), static_cast<char *>(nullptr));
			_exit(127);
		}
		for (int i = 0; i < 1000 && !ready(); i++)
			std::this_thread::sleep_for(milliseconds(10));
	}
	void stop(int signal)
	{
		if (pid_ <= 0)
			return;
		kill(pid_, SIGCONT);
		kill(pid_, signal);
		waitpid(pid_, nullptr, 0);
		pid_ = -1;
	}
	void crash() { stop(SIGKILL); }
	void freeze() { kill(pid_, SIGSTOP); }
	void thaw() { kill(pid_, SIGCONT); }

	int port() const { return port_; }
	const std::string &dir() const { return dir_; }
	std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }

	std::string log() const
	{
		std::ifstream file(dir_ + "/log");
		return {std::istreambuf_iterator<char>(file), {}};
	}

private:
	bool ready() const
	{
		int fd = connect_to(port_);
		if (fd < 0)
			return false;
		pollfd wait{fd, POLLIN, 0};
		bool greeted = poll(&wait, 1, 1000) > 0;
		close(fd);
		return greeted;
	}

	std::string config_, dir_;
	int port_ = 0;
	pid_t pid_ = -1;
};

// Forwards connections to another port. Each connection may carry `budget` bytes to the server, and is then cut.
class Proxy {
public:
	explicit Proxy(int to) : to_(to), thread_([this] { run(); }) {}
	~Proxy()
	{
		stop_ = true;
		thread_.join();
	}
	Proxy(const Proxy &) = delete;
	Proxy &operator=(const Proxy &) = delete;

	void budget(long bytes) { budget_ = bytes; } // negative: no limit
	int connections() const { return connections_; }
	std::string url() const { return listener_.url(); }

private:
	static bool forward(int from, int to, long &allowed)
	{
		char buffer[16384];
		auto most =
			allowed >= 0 && allowed < static_cast<long>(sizeof buffer) ? allowed : static_cast<long>(sizeof buffer);
		auto got = recv(from, buffer, static_cast<std::size_t>(most), 0);
		if (got <= 0)
			return false;
		for (ssize_t sent = 0; sent < got;) {
			auto now = send(to, buffer + sent, static_cast<std::size_t>(got - sent), MSG_NOSIGNAL);
			if (now <= 0)
				return false;
			sent += now;
		}
		if (allowed >= 0)
			allowed -= got;
		return allowed != 0;
	}
	void serve(int client)
	{
		int server = connect_to(to_);
		long allowed = budget_, unlimited = -1;
		while (server >= 0 && !stop_) {
			pollfd fds[] = {{client, POLLIN, 0}, {server, POLLIN, 0}, {listener_.fd(), POLLIN, 0}};
			if (poll(fds, 3, 50) < 0)
				break;
			if (fds[0].revents != 0 && !forward(client, server, allowed))
				break;
			if (fds[1].revents != 0 && !forward(server, client, unlimited))
				break;
			if (fds[2].revents != 0)
				break; // the client has given up this one
		}
		if (server >= 0)
			close(server);
		close(client);
	}
	void run()
	{
		while (!stop_) {
			pollfd fd{listener_.fd(), POLLIN, 0};
			if (poll(&fd, 1, 50) <= 0)
				continue;
			int client = accept(listener_.fd(), nullptr, nullptr);
			if (client < 0)
				continue;
			connections_++;
			serve(client);
		}
	}

	Listener listener_;
	int to_;
	std::atomic<long> budget_ = -1;
	std::atomic<int> connections_ = 0;
	std::atomic<bool> stop_ = false;
	std::thread thread_;
};

// Tests of NATS need the server.
class NatsTest : public testing::Test {
protected:
	void SetUp() override
	{
		if (!NatsServer::installed())
			GTEST_SKIP() << "nats-server is not installed";
	}
};

inline nats::ConnectionOptions at(const std::string &url)
{
	nats::ConnectionOptions options;
	options.urls = {url};
	options.name = "pgbraid test";
	return options;
}

} // namespace pgbraid::test
