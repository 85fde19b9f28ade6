// pgbraid-worker: executes the runs that pgbraid offers on a NATS subject, one command for each.
//
// An instance picks a run, executes the command, and tells what came of it; it repeats what was not answered, so that
// neither a NATS server nor a PostgreSQL server that restarts is noticed. docs/jobs-protocol.md has the protocol.
#include "core/flow/json.h"
#include "nats/json.h"

#include <nats/nats.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <getopt.h>
#include <memory>
#include <poll.h>
#include <spawn.h>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

extern char **environ;

namespace {

using namespace std::chrono_literals;
using namespace pgbraid;
using Clock = std::chrono::steady_clock;

volatile std::sig_atomic_t interrupted = 0;

constexpr char usage[] =
	"pgbraid-worker executes the runs of jobs that pgbraid offers on a NATS subject.\n"
	"\n"
	"Usage: pgbraid-worker [OPTION]... SUBJECT [--] [COMMAND [ARGUMENT]...]\n"
	"\n"
	"  -s, --server URL[,URL]   NATS servers (default: $NATS_URL or nats://127.0.0.1:4222)\n"
	"      --creds FILE         credentials file\n"
	"      --user NAME, --password PASSWORD\n"
	"      --queue NAME         queue group: each run goes to one of its members (default: the subject)\n"
	"      --name NAME          who we are, in pgbraid.job_runs (default: host and process)\n"
	"      --instances N        runs that are executed at a time (default: 1)\n"
	"      --count N            end after N runs\n"
	"      --verbose            a line for each run\n"
	"      --version, --help\n"
	"\n"
	"The command reads the payload from its standard input; what it prints is the output of the run, what it prints "
	"to\n"
	"its standard error the log. A status other than 0 fails the run. It finds PGBRAID_RUN, PGBRAID_JOB, "
	"PGBRAID_ATTEMPT\n"
	"and PGBRAID_DUE_AT in its environment. Without a command, the output is the payload.\n";

constexpr auto answer_timeout = 2s; // then the request is repeated
constexpr auto pick_patience = 20s; // an offer is not worth more
constexpr auto grace = 5s;			// between SIGTERM and SIGKILL
constexpr std::size_t most_output = 64 << 10;

struct Options {
	std::string servers = std::getenv("NATS_URL") ? std::getenv("NATS_URL") : "nats://127.0.0.1:4222";
	std::string creds, user, password, subject, queue, name;
	std::vector<char *> command; // ends with nullptr; nothing else: none
	int instances = 1;
	long count = 0;
	bool verbose = false;
};

[[noreturn]] void fail(const std::string &message)
{
	std::fprintf(stderr, "pgbraid-worker: %s\n", message.c_str());
	std::exit(1);
}

std::string own_name()
{
	std::array<char, 256> host{};
	gethostname(host.data(), host.size() - 1);
	return std::string(host.data()) + "-" + std::to_string(getpid());
}

Options parse(int argc, char **argv)
{
	enum { creds = 256, user, password, queue, name, instances, count, verbose, version, help };
	static const option known[] = {{"server", required_argument, nullptr, 's'},
								   {"creds", required_argument, nullptr, creds},
								   {"user", required_argument, nullptr, user},
								   {"password", required_argument, nullptr, password},
								   {"queue", required_argument, nullptr, queue},
								   {"name", required_argument, nullptr, name},
								   {"instances", required_argument, nullptr, instances},
								   {"count", required_argument, nullptr, count},
								   {"verbose", no_argument, nullptr, verbose},
								   {"version", no_argument, nullptr, version},
								   {"help", no_argument, nullptr, help},
								   {nullptr, 0, nullptr, 0}};
	Options options;
	options.name = own_name();
	for (int choice; (choice = getopt_long(argc, argv, "+s:", known, nullptr)) != -1;) {
		switch (choice) {
			case 's': options.servers = optarg; break;
			case creds: options.creds = optarg; break;
			case user: options.user = optarg; break;
			case password: options.password = optarg; break;
			case queue: options.queue = optarg; break;
			case name: options.name = optarg; break;
			case instances: options.instances = std::atoi(optarg); break;
			case count: options.count = std::atol(optarg); break;
			case verbose: options.verbose = true; break;
			case version: std::puts("pgbraid-worker " PGBRAID_VERSION); std::exit(0);
			case help: std::fputs(usage, stdout); std::exit(0);
			default: std::fputs("Try 'pgbraid-worker --help'.\n", stderr); std::exit(1);
		}
	}
	if (optind >= argc)
		fail("which runs? Give a subject.");
	options.subject = argv[optind++];
	if (options.queue.empty())
		options.queue = options.subject;
	if (optind < argc && std::strcmp(argv[optind], "--") == 0)
		optind++;
	options.command.assign(argv + optind, argv + argc);
	options.command.push_back(nullptr);
	if (options.instances < 1 || options.instances > 1000)
		fail("--instances is a number from 1 to 1000");
	return options;
}

std::string quoted(std::string_view text)
{
	core::Bytes json;
	core::append_json_string(json, text);
	core::repair_utf8(json, 0);
	return std::string(json.view());
}

void require(natsStatus status, const char *what)
{
	if (status != NATS_OK)
		fail(std::string(what) + ": " + natsStatus_GetText(status));
}

natsConnection *connect(const Options &options)
{
	natsOptions *to = nullptr;
	require(natsOptions_Create(&to), "options");
	std::vector<std::string> urls;
	for (std::size_t begin = 0; begin <= options.servers.size();) {
		auto end = std::min(options.servers.find(',', begin), options.servers.size());
		urls.push_back(options.servers.substr(begin, end - begin));
		begin = end + 1;
	}
	std::vector<const char *> list;
	for (auto &url : urls)
		list.push_back(url.c_str());
	natsStatus status = natsOptions_SetServers(to, list.data(), static_cast<int>(list.size()));
	if (status == NATS_OK)
		status = natsOptions_SetName(to, "pgbraid-worker");
	if (status == NATS_OK)
		status = natsOptions_SetMaxReconnect(to, -1);
	if (status == NATS_OK)
		status = natsOptions_SetReconnectWait(to, 100);
	if (status == NATS_OK && !options.creds.empty())
		status = natsOptions_SetUserCredentialsFromFiles(to, options.creds.c_str(), nullptr);
	if (status == NATS_OK && !options.user.empty())
		status = natsOptions_SetUserInfo(to, options.user.c_str(), options.password.c_str());
	natsConnection *connection = nullptr;
	if (status == NATS_OK)
		status = natsConnection_Connect(&connection, to);
	natsOptions_Destroy(to);
	require(status, "could not connect to NATS");
	return connection;
}

// An offered run, and the conversation about it.
class Run {
public:
	Run(natsConnection *connection, natsMsg *offer) : connection_(connection), inbox_(natsMsg_GetReply(offer))
	{
		std::string_view said(natsMsg_GetData(offer), static_cast<std::size_t>(natsMsg_GetDataLength(offer)));
		id = nats::json_number(nats::json_member(said, "run"));
		token_ = nats::json_string(nats::json_member(said, "token"));
		job = nats::json_string(nats::json_member(said, "job"));
		due_at = nats::json_string(nats::json_member(said, "due_at"));
		attempt = nats::json_number(nats::json_member(said, "attempt"));
		payload = nats::json_member(said, "payload");
	}

	bool pick(const std::string &worker)
	{
		bool ok = say("picked", ",\"worker\":" + quoted(worker), pick_patience);
		last_beat_ = Clock::now();
		return ok;
	}
	bool heartbeat()
	{
		last_beat_ = Clock::now();
		return say("heartbeat", "", lease_);
	}
	Clock::time_point next_beat() const { return last_beat_ + lease_ / 3; }
	void log(const std::string &line) { say("log", ",\"line\":" + quoted(line), lease_); }
	bool succeed(const std::string &output) { return say("succeeded", ",\"output\":" + quoted(output), 1h); }
	bool fail_with(const std::string &error, const std::string &output)
	{
		return say("failed", ",\"error\":" + quoted(error) + ",\"output\":" + quoted(output), 1h);
	}
	const std::string &inbox() const { return inbox_; }
	bool is_named_by(std::string_view message) const
	{
		return nats::json_string(nats::json_member(message, "token")) == token_;
	}

	std::uint64_t id = 0, attempt = 0;
	std::string job, due_at, payload;

private:
	// Until it is answered; true if the answer is yes.
	bool say(const char *type, const std::string &more, std::chrono::milliseconds patience)
	{
		std::string message = "{\"type\":\"" + std::string(type) + "\",\"run\":" + std::to_string(id) +
							  ",\"token\":" + quoted(token_) + more + "}";
		for (auto end = Clock::now() + patience; Clock::now() < end;) {
			natsMsg *reply = nullptr;
			natsStatus status = natsConnection_RequestString(
				&reply, connection_, inbox_.c_str(), message.c_str(),
				std::chrono::duration_cast<std::chrono::milliseconds>(answer_timeout).count());
			if (status == NATS_OK) {
				std::string_view answer(natsMsg_GetData(reply), static_cast<std::size_t>(natsMsg_GetDataLength(reply)));
				bool ok = nats::json_member(answer, "ok") == "true";
				if (auto lease = nats::json_number(nats::json_member(answer, "lease_ms")); lease > 0)
					lease_ = std::chrono::milliseconds(lease);
				natsMsg_Destroy(reply);
				return ok;
			}
			if (status != NATS_TIMEOUT) // nobody is there at the moment
				std::this_thread::sleep_for(100ms);
		}
		return false;
	}

	natsConnection *connection_;
	std::string inbox_, token_;
	std::chrono::milliseconds lease_{30000};
	Clock::time_point last_beat_;
};

struct Pipe {
	int read = -1, write = -1;
	Pipe() = default;
	Pipe(const Pipe &) = delete;
	Pipe &operator=(const Pipe &) = delete;
	~Pipe() { shut(read), shut(write); }
	void open()
	{
		int ends[2];
		if (pipe2(ends, O_CLOEXEC) != 0)
			fail(std::string("pipe: ") + std::strerror(errno));
		read = ends[0];
		write = ends[1];
	}
	static void shut(int &end)
	{
		if (end >= 0)
			close(std::exchange(end, -1));
	}
};

// The command, executed for one run.
class Execution {
public:
	Execution(const Options &options, Run &run, natsSubscription *cancels) : run_(run), cancels_(cancels)
	{
		in_.open();
		out_.open();
		err_.open();
		auto environment = environment_of(run);
		std::vector<char *> pointers;
		for (auto &line : environment)
			pointers.push_back(line.data());
		pointers.push_back(nullptr);
		spawn(options.command.data(), pointers.data());
		Pipe::shut(in_.read);
		Pipe::shut(out_.write);
		Pipe::shut(err_.write);
		fcntl(in_.write, F_SETFL, O_NONBLOCK);
	}

	// True unless the run is no longer ours.
	bool finish()
	{
		if (child_ == 0)
			return run_.fail_with(trouble_, "");
		while (out_.read >= 0 || err_.read >= 0)
			step();
		Pipe::shut(in_.write);
		while (waitpid(child_, &status_, 0) < 0 && errno == EINTR) {
		}
		if (!line_.empty())
			run_.log(line_);
		if (is_lost_)
			return false;
		if (WIFEXITED(status_) && WEXITSTATUS(status_) == 0)
			return run_.succeed(output_);
		return run_.fail_with(WIFEXITED(status_) ? "exit status " + std::to_string(WEXITSTATUS(status_))
												 : "signal " + std::to_string(WTERMSIG(status_)),
							  output_);
	}

private:
	static std::vector<std::string> environment_of(const Run &run)
	{
		std::vector<std::string> lines;
		for (char **line = environ; *line != nullptr; line++)
			if (std::strncmp(*line, "PGBRAID_", 8) != 0)
				lines.emplace_back(*line);
		lines.push_back("PGBRAID_RUN=" + std::to_string(run.id));
		lines.push_back("PGBRAID_JOB=" + run.job);
		lines.push_back("PGBRAID_ATTEMPT=" + std::to_string(run.attempt));
		lines.push_back("PGBRAID_DUE_AT=" + run.due_at);
		return lines;
	}

	// In a process group of its own, so that what it starts ends with it. A fork would copy the page tables.
	void spawn(char *const *command, char *const *environment)
	{
		posix_spawn_file_actions_t files;
		posix_spawnattr_t attributes;
		posix_spawn_file_actions_init(&files);
		posix_spawn_file_actions_adddup2(&files, in_.read, 0);
		posix_spawn_file_actions_adddup2(&files, out_.write, 1);
		posix_spawn_file_actions_adddup2(&files, err_.write, 2);
		posix_spawnattr_init(&attributes);
		posix_spawnattr_setpgroup(&attributes, 0);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
		int error = posix_spawnp(&child_, command[0], &files, &attributes, command, environment);
		posix_spawn_file_actions_destroy(&files);
		posix_spawnattr_destroy(&attributes);
		if (error != 0) {
			child_ = 0;
			trouble_ = std::string(command[0]) + ": " + std::strerror(error);
		}
	}

	void step()
	{
		pollfd fds[] = {{out_.read, POLLIN, 0}, {err_.read, POLLIN, 0}, {in_.write, POLLOUT, 0}};
		poll(fds, 3, 100);
		if (fds[0].revents != 0)
			take(out_.read, [this](std::string_view text) {
				output_.append(text.substr(0, most_output - std::min(most_output, output_.size())));
			});
		if (fds[1].revents != 0)
			take(err_.read, [this](std::string_view text) { take_log(text); });
		if (fds[2].revents != 0)
			feed();
		look_after();
	}

	template <typename F>
	static void take(int &from, F &&f)
	{
		std::array<char, 8192> buffer;
		ssize_t size = read(from, buffer.data(), buffer.size());
		if (size > 0)
			f(std::string_view(buffer.data(), static_cast<std::size_t>(size)));
		else if (size == 0 || (errno != EINTR && errno != EAGAIN))
			Pipe::shut(from);
	}

	void take_log(std::string_view text)
	{
		line_ += text;
		for (std::size_t end; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1))
			run_.log(line_.substr(0, end));
	}

	void feed()
	{
		std::string_view rest = std::string_view(run_.payload).substr(fed_);
		ssize_t size = rest.empty() ? 0 : write(in_.write, rest.data(), rest.size());
		if (size > 0)
			fed_ += static_cast<std::size_t>(size);
		if (fed_ == run_.payload.size() || (size < 0 && errno != EAGAIN && errno != EINTR))
			Pipe::shut(in_.write);
	}

	void look_after()
	{
		natsMsg *message = nullptr;
		while (natsSubscription_NextMsg(&message, cancels_, 0) == NATS_OK) {
			is_lost_ = is_lost_ || run_.is_named_by({natsMsg_GetData(message),
													 static_cast<std::size_t>(natsMsg_GetDataLength(message))});
			natsMsg_Destroy(message);
		}
		if (!is_lost_ && Clock::now() >= run_.next_beat())
			is_lost_ = !run_.heartbeat();
		if (!is_lost_)
			return;
		if (kill_at_ == Clock::time_point{}) {
			kill_at_ = Clock::now() + grace;
			kill(-child_, SIGTERM);
		} else if (Clock::now() >= kill_at_) {
			kill(-child_, SIGKILL);
		}
	}

	Run &run_;
	natsSubscription *cancels_;
	Pipe in_, out_, err_;
	pid_t child_ = 0;
	int status_ = 0;
	bool is_lost_ = false;
	std::size_t fed_ = 0;
	std::string output_, line_, trouble_;
	Clock::time_point kill_at_{};
};

// One instance: a connection, and one run at a time.
class Instance {
public:
	Instance(const Options &options, int number, std::atomic<long> &left)
		: options_(options), name_(number == 0 ? options.name : options.name + "-" + std::to_string(number)),
		  left_(left), connection_(connect(options))
	{
		require(
			natsConnection_QueueSubscribeSync(&offers_, connection_, options.subject.c_str(), options.queue.c_str()),
			"could not subscribe");
		require(natsConnection_Flush(connection_), "could not subscribe");
	}
	~Instance()
	{
		natsSubscription_Destroy(offers_);
		natsSubscription_Destroy(cancels_);
		natsConnection_Destroy(connection_);
	}
	Instance(const Instance &) = delete;
	Instance &operator=(const Instance &) = delete;

	void work()
	{
		while (!interrupted && left_ != 0) {
			natsMsg *offer = nullptr;
			natsStatus status = natsSubscription_NextMsg(&offer, offers_, 200);
			if (status == NATS_OK && natsMsg_GetReply(offer) != nullptr)
				execute(offer);
			natsMsg_Destroy(offer);
			if (status == NATS_CONNECTION_CLOSED)
				fail("the connection to NATS is closed");
		}
	}

private:
	void execute(natsMsg *offer)
	{
		Run run(connection_, offer);
		listen_for_cancels(run.inbox());
		if (!run.pick(name_))
			return; // somebody else has it, or it waited here for too long
		bool done =
			options_.command.size() == 1 ? run.succeed(run.payload) : Execution(options_, run, cancels_).finish();
		if (options_.verbose)
			std::printf("%s run %llu %s\n", name_.c_str(), static_cast<unsigned long long>(run.id),
						done ? "done" : "lost");
		if (left_ > 0)
			left_--;
	}

	void listen_for_cancels(const std::string &inbox)
	{
		if (cancels_ == nullptr)
			require(natsConnection_SubscribeSync(&cancels_, connection_, (inbox + ".cancel").c_str()),
					"could not subscribe");
	}

	const Options &options_;
	std::string name_;
	std::atomic<long> &left_; // -1: any number
	natsConnection *connection_;
	natsSubscription *offers_ = nullptr, *cancels_ = nullptr;
};

} // namespace

int main(int argc, char **argv)
{
	Options options = parse(argc, argv);
	struct sigaction action = {};
	action.sa_handler = [](int) { interrupted = 1; };
	sigaction(SIGTERM, &action, nullptr);
	sigaction(SIGINT, &action, nullptr);
	std::signal(SIGPIPE, SIG_IGN);
	std::setvbuf(stdout, nullptr, _IOLBF, 0);
	std::atomic<long> left = options.count > 0 ? options.count : -1;
	std::vector<std::unique_ptr<Instance>> instances;
	for (int number = 0; number < options.instances; number++)
		instances.push_back(std::make_unique<Instance>(options, number, left));
	std::vector<std::thread> threads;
	for (auto &instance : instances)
		threads.emplace_back([&instance] { instance->work(); });
	for (auto &thread : threads)
		thread.join();
	instances.clear();
	nats_Close();
	return 0;
}
